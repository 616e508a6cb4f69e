"""Models as ``/v1/models`` tells of them, in OpenAI's words and Anthropic's at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from gateway.errors import ValidationFailed
from gateway.registry.catalogue import API_MODEL_TYPES, ModelSpec

_USUAL, _MOST = 20, 1000
_CURSORS = ("after_id", "before_id")


class Page(Struct, frozen=True):
    """Which part of the list: at most ``limit`` rows (``None``: all), after or before the model of an id."""

    limit: int | None = None
    after_id: str | None = None
    before_id: str | None = None


def page_of(query: bytes, *, paged: bool) -> Page:
    """What the query asks for; ``paged`` where the caller's dialect pages without being asked (Anthropic's).
    ``ValidationFailed`` for a limit that is none, and where both ends are named."""
    given = dict(parse_qsl(query.decode("latin-1")))
    text = given.get("limit")
    limit = _USUAL if paged or any(name in given for name in _CURSORS) else None
    if text is not None:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST:
            raise ValidationFailed(f"limit: a whole number from 1 to {_MOST}", param="limit")
        limit = int(text)
    if all(name in given for name in _CURSORS):
        raise ValidationFailed("after_id and before_id do not go together", param="before_id")
    return Page(limit, given.get("after_id"), given.get("before_id"))


def model_list(specs: Iterable[ModelSpec], page: Page) -> dict[str, Any]:
    """Those that a door under ``/v1`` can be asked for. ``ValidationFailed`` for a cursor that is none of them."""
    rows = [model_row(spec) for spec in specs if spec.type in API_MODEL_TYPES]
    ids = [row["id"] for row in rows]
    for name in _CURSORS:
        cursor = getattr(page, name)
        if cursor is not None and cursor not in ids:
            raise ValidationFailed(f"{name}: no model of that id is in the list", param=name)
    if page.before_id is not None:
        end = ids.index(page.before_id)
        first = 0 if page.limit is None else max(end - page.limit, 0)
        more, rows = first > 0, rows[first:end]
    else:
        first = 0 if page.after_id is None else ids.index(page.after_id) + 1
        end = len(rows) if page.limit is None else first + page.limit
        more, rows = end < len(rows), rows[first:end]
    ends = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    return {"object": "list", "data": rows, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def model_row(spec: ModelSpec) -> dict[str, Any]:
    """One of them."""
    return {
        "id": spec.name,
        "object": "model",
        "type": "model",
        "created": 0,
        "created_at": "1970-01-01T00:00:00Z",
        "owned_by": spec.provider,
        "display_name": spec.name,
    }
