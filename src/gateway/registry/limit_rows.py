"""``limits`` of a row of ``models.yaml``; strict, with line numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.models.bound import LIMIT_FIELDS, MOST, Bound, bound_of, misfit
from gateway.registry.yaml_lines import Document, Path_


def read_limits(document: Document, model: Path_, raw: Mapping[str, Any]) -> Bound | None:
    """``None`` where the row limits nothing."""
    given, path = raw.get("limits"), (*model, "limits")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise document.wrong(path, "an object is expected here", "such as {requests_per_minute: 600}")
    for name, value in given.items():
        if name not in LIMIT_FIELDS:
            raise document.wrong((*path, name), "no such field", f"fields here: {', '.join(LIMIT_FIELDS)}")
        if misfit(value):
            raise document.wrong((*path, name), f"a whole number from 1 to {MOST} is expected here")
    return bound_of(f"model:{model[-1]}", given)
