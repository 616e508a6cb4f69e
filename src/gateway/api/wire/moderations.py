"""OpenAI's moderations at our door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.wire.fields import text
from gateway.errors import ValidationFailed
from gateway.models.moderation_models import Moderation, ModerationRequest

_MOST = 2_048


def decode(body: Mapping[str, Any], default_model: str | None) -> ModerationRequest:
    """``ValidationFailed`` names the field."""
    for name in body:
        if name not in ("input", "model"):
            raise ValidationFailed(f"{name[:100]}: no such parameter", mend="see the moderations API", param=name[:100])
    model = text(body, "model") or default_model
    if not model:
        raise ValidationFailed(
            "model: none is named and there is no default", mend="GET /models?type=moderation", param="model"
        )
    given = body.get("input")
    if isinstance(given, str) and given:
        return ModerationRequest(model, given)
    if not isinstance(given, list) or not 1 <= len(given) <= _MOST:
        raise ValidationFailed(f"input: a text, or a list of 1 to {_MOST} texts or parts, is expected", param="input")
    for at, item in enumerate(given):
        if not isinstance(item, str):
            _check_part(item, f"input[{at}]")
    return ModerationRequest(model, given)


def encode(moderation: Moderation, model: str, name: str) -> dict[str, Any]:
    """The judgements. ``model`` as the caller named it."""
    return {"id": name, **moderation.body, "model": model}


def _check_part(item: Any, place: str) -> None:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "text" and isinstance(item.get("text"), str):
        return
    image = item.get("image_url") if kind == "image_url" else None
    if isinstance(image, dict) and isinstance(image.get("url"), str):
        return
    raise ValidationFailed(f"{place}: a text, or a part of type text or image_url, is expected", param=place)
