"""Headers of a request that belong to what is asked, as the official SDKs send them; see ``Chat.headers``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gateway.errors import ValidationFailed

#: What Anthropic's SDKs send beside the body and a provider of the dialect is to know.
_ANTHROPIC = ("anthropic-beta", "anthropic-user-profile-id")
_OPENAI = ("openai-beta",)
#: What may come in several lines that together are one list.
_LISTS = (*_ANTHROPIC, *_OPENAI, "x-gateway-tags")
_CREDENTIALS = ("authorization", "x-api-key")
#: Versions of Anthropic's API that are one here: the later one only refuses some of what the earlier one takes,
#: and answers alike. https://platform.claude.com/docs/en/api/versioning
_VERSIONS = ("2023-06-01", "2026-10-21")
_VALUE = re.compile(r"[A-Za-z0-9._:=,; -]{1,1000}")


def of_anthropic(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the dialect, with the version where it is one that we do not know. ``ValidationFailed`` for a
    value that is none."""
    if headers.get("anthropic-version", _VERSIONS[0]) in _VERSIONS:
        return _of(headers, _ANTHROPIC)
    return _of(headers, (*_ANTHROPIC, "anthropic-version"))


def of_openai(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the dialect. ``ValidationFailed`` for a value that is none."""
    return _of(headers, _OPENAI) if "openai-beta" in headers else {}


def repeated(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Those that came in several lines, as the list that these are together. Several credentials are none: nobody
    could say which was meant."""
    found: dict[str, list[str]] = {}
    for name, value in lines:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    told = {name: ",".join(found[name]) for name in _LISTS if len(found.get(name, ())) > 1}
    return told | {name: "" for name in _CREDENTIALS if len(set(found.get(name, ()))) > 1}


def _of(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    found = {name: headers[name] for name in names if headers.get(name)}
    for name, value in found.items():
        if not _VALUE.fullmatch(value):
            raise ValidationFailed(f"{name}: names, with commas between them, are expected", param=name)
    return found
