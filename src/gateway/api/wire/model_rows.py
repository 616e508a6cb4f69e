"""Models as ``/v1/models`` tells of them: to everybody in OpenAI's words and Anthropic's at once, to callers of
Anthropic's dialect (they send ``anthropic-version``) in its own, page by page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from gateway.errors import ModelNotFound, ValidationFailed
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue, ModelSpec
from gateway.security.access import Caller

MODELS = "/v1/models"
#: Pages of Anthropic's list, in models: without a word, and at most.
_PAGE, _MOST = 20, 1000
_LIFECYCLES = ("active", "deprecated", "retired")
#: What says that nothing is known of it.
_EPOCH = "1970-01-01T00:00:00Z"


def models_told(catalogue: Catalogue, caller: Caller, path: str, query: bytes | None) -> dict[str, Any]:
    """The models that the caller may use, or the one that ``path`` names; ``query`` (as it stands in the URL) where
    Anthropic's dialect is spoken. Raises ``ModelNotFound``, and ``ValidationFailed`` for a bad parameter."""
    if path == MODELS:
        usable = [spec for name, spec in catalogue.models.items() if caller.may_use_model(name)]
        return model_list(usable) if query is None else anthropic_page(usable, query)
    name = path.removeprefix(f"{MODELS}/")
    caller.require_model(name)
    spec = catalogue.model(name)
    return model_row(spec) if query is None else anthropic_row(spec)


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
        "created_at": _EPOCH,
        "owned_by": spec.provider,
        "display_name": spec.name,
    }


def anthropic_page(specs: Iterable[ModelSpec], query: bytes) -> dict[str, Any]:
    """The page that ``query`` asks for: ``limit`` models after ``after_id``, or just before
    ``before_id``.

    Raises ``ValidationFailed`` for a bad parameter, ``ModelNotFound`` for an id that is not in the list.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    asked = dict(pairs)
    limit = _limit(asked.get("limit"))
    after, before = asked.get("after_id"), asked.get("before_id")
    if after is not None and before is not None:
        raise ValidationFailed("before_id: a page has one end only", mend="leave after_id out", param="before_id")
    listed = [spec for spec in specs if spec.type in API_MODEL_TYPES] if _active_asked(pairs) else []
    names = [spec.name for spec in listed]
    if before is not None:
        end = _place(names, before, "before_id")
        start = max(0, end - limit)
        more = start > 0
    else:
        start = 0 if after is None else _place(names, after, "after_id") + 1
        end = start + limit
        more = end < len(names)
    rows = [anthropic_row(spec) for spec in listed[start:end]]
    first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    return {"data": rows, "has_more": more, "first_id": first, "last_id": last}


def anthropic_row(spec: ModelSpec) -> dict[str, Any]:
    """One of them: ``max_input_tokens`` is its context window, ``null`` where the row says none."""
    return {
        "type": "model",
        "id": spec.name,
        "display_name": spec.name,
        "created_at": _EPOCH,
        "lifecycle": "active",
        "max_input_tokens": spec.context_window,
        "max_tokens": spec.max_output_tokens,
    }


def _limit(said: str | None) -> int:
    if said is None:
        return _PAGE
    if not (said.isascii() and said.isdigit() and len(said) <= len(str(_MOST)) and 1 <= int(said) <= _MOST):
        raise ValidationFailed(f"limit: a whole number from 1 to {_MOST} is expected", param="limit")
    return int(said)


def _active_asked(pairs: list[tuple[str, str]]) -> bool:
    """Whether models in use are asked for: all of ours are, and ``lifecycle`` may name other stages alone."""
    stages = [value for name, value in pairs if name in ("lifecycle", "lifecycle[]")]
    for stage in stages:
        if stage not in _LIFECYCLES:
            raise ValidationFailed(f"lifecycle: one of {', '.join(_LIFECYCLES)} is expected", param="lifecycle")
    return not stages or "active" in stages


def _place(names: list[str], name: str, param: str) -> int:
    if name not in names:
        raise ModelNotFound(f"{param}: no model of that name is in the list", mend="begin without it", param=param)
    return names.index(name)
