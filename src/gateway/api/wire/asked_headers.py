"""Headers by which a caller asks for more than the usual: the circumstances of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.wire.headers import cache_seconds
from gateway.models.selection import HEADERS as SELECTION_HEADERS
from gateway.models.selection import selection_of_headers
from gateway.models.tags import read_tags

_ASKED = frozenset(
    {
        "x-gateway-strict",
        "x-gateway-cache",
        "x-gateway-optimise",
        "x-gateway-session",
        "x-gateway-tags",
        *SELECTION_HEADERS,
    }
)


def asked_by(headers: Mapping[str, str]) -> dict[str, Any]:
    """What of a ``CallContext`` the headers name, by its fields; nothing for most calls. A dict of its own."""
    if _ASKED.isdisjoint(headers):
        return {}
    cache = headers.get("x-gateway-cache", "")
    return {
        "strict": headers.get("x-gateway-strict", "").lower() in ("1", "true"),
        "cache_seconds": cache_seconds(cache),
        "semantic": cache == "semantic",
        "optimise": headers.get("x-gateway-optimise", ""),
        "selection": selection_of_headers(headers),
        "session": headers.get("x-gateway-session", "")[:200],
        "tags": read_tags(headers.get("x-gateway-tags", "")),
    }
