"""Models as ``/v1/models`` tells of them, in OpenAI's words and Anthropic's at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.registry.catalogue import API_MODEL_TYPES, ModelSpec


def model_list(specs: Iterable[ModelSpec]) -> dict[str, Any]:
    """Those that a door under ``/v1`` can be asked for."""
    rows = [model_row(spec) for spec in specs if spec.type in API_MODEL_TYPES]
    first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    return {"object": "list", "data": rows, "has_more": False, "first_id": first, "last_id": last}


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
