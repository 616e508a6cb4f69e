"""Fields of callers' bodies, checked; ``ValidationFailed`` names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import ValidationFailed
from gateway.models.llm_models import ImagePart


def text(body: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if required and not value:
        raise ValidationFailed(f"{name}: a text is expected", param=name)
    return text_value(value, name)


def text_value(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValidationFailed(f"{name}: a text is expected", param=name)
    return value


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    return None if value is None else number_value(low, high, value, name)


def number_value(low: float, high: float, value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValidationFailed(f"{name}: a number from {low:g} to {high:g} is expected", param=name)
    return value


def whole(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    return None if value is None else whole_value(low, high, value, name)


def whole_value(low: int, high: int, value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationFailed(f"{name}: a whole number from {low} to {high} is expected", param=name)
    return value


def stop_value(value: Any, name: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or len(texts) > 16 or not all(isinstance(item, str) for item in texts):
        raise ValidationFailed(f"{name}: a text or a list of up to 16 texts is expected", param=name)
    return tuple(texts)


def image(raw: Mapping[str, Any], place: str) -> ImagePart:
    url = raw.get("url")
    detail = raw.get("detail") or ""
    if not isinstance(url, str) or not isinstance(detail, str):
        raise ValidationFailed(f"{place}.image_url.url: a text is expected", param=f"{place}.image_url.url")
    if url.startswith("data:"):
        head, _, data = url.partition(",")
        media_type, _, encoding = head.removeprefix("data:").partition(";")
        if encoding != "base64" or not media_type.startswith("image/"):
            raise ValidationFailed(f"{place}: a data URL of an image in base64 is expected", param=place)
        return ImagePart(data=data, media_type=media_type, detail=detail)
    if not url.startswith(("https://", "http://")):
        raise ValidationFailed(f"{place}: an http(s) or data URL is expected", param=place)
    return ImagePart(url=url, detail=detail)


def plain_name(name: str) -> str:
    """A name as it may stand in a header."""
    return name if name.isascii() and name.isidentifier() and len(name) < 64 else "?"


def of_kind(raw: Mapping[str, Any], kinds: Mapping[str, type], place: str) -> None:
    """Refuses a field that is there and of another kind than it should be: ``str``, ``bool``, ``dict`` or ``list``."""
    for name, kind in kinds.items():
        value = raw.get(name)
        if value is not None and not isinstance(value, kind):
            where = f"{place}.{name}" if place else name
            raise ValidationFailed(f"{where}: {_WORDS[kind]} is expected", param=where)


_WORDS: Mapping[type, str] = {str: "a text", bool: "true or false", dict: "an object", list: "a list"}
