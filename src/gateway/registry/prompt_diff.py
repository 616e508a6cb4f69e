"""What differs between two versions of a prompt: field by field, and texts line by line."""

from __future__ import annotations

import difflib
import json
from typing import Any

import msgspec

from gateway.registry.prompt_version import PromptVersion


def diff(old: PromptVersion, new: PromptVersion) -> list[dict[str, Any]]:
    """The fields that differ, each as ``{field, lines}``; lines begin with ``+``, ``-``, a space or ``@@``."""
    found = []
    left, right = _texts(old), _texts(new)
    for field in sorted(left.keys() | right.keys(), key=_order):
        before, after = left.get(field, ""), right.get(field, "")
        if before != after:
            lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3))[2:]
            found.append({"field": field, "lines": lines or ["-" + repr(before), "+" + repr(after)]})
    return found


def _texts(version: PromptVersion) -> dict[str, str]:
    """Every part of a version as text, empty parts left out."""
    parts = {"template": version.template}
    parts |= {f"messages[{at}] {turn.role}": turn.content for at, turn in enumerate(version.turns)}
    parts |= {f"variables.{one.name}": _json(msgspec.to_builtins(one)) for one in version.inputs}
    defaults = msgspec.to_builtins(version.defaults)
    parts |= {f"defaults.{name}": _json(value) for name, value in defaults.items()}
    return {name: text for name, text in parts.items() if text}


def _order(field: str) -> tuple[int, str]:
    kinds = ("template", "messages", "variables", "defaults")
    at = next(at for at, kind in enumerate(kinds) if field.startswith(kind))
    number = field.partition("[")[2].partition("]")[0]
    return at, number.zfill(4) + field


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
