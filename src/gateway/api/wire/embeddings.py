"""OpenAI's embeddings at our door. The caller's encoding is the answer's, whatever the provider writes."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping
from sys import byteorder
from typing import Any

from gateway.errors import ValidationFailed
from gateway.models.embedding_models import Embeddings, EmbedRequest

_READ = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
#: Fields of servers that speak this dialect beside OpenAI: carried as they stand.
_EXTRA = frozenset({"input_type", "truncate", "output_dtype", "priority"})


def decode(body: Mapping[str, Any]) -> EmbedRequest:
    """``ValidationFailed`` names the field."""
    for name in body:
        if name not in _READ and name not in _EXTRA:
            raise ValidationFailed(f"{name[:100]}: no such parameter", mend="see the embeddings API", param=name[:100])
    model, user = body.get("model"), body.get("user") or ""
    if not isinstance(model, str) or not model:
        raise ValidationFailed("model: a text is expected", param="model")
    if not isinstance(user, str):
        raise ValidationFailed("user: a text is expected", param="user")
    encoding: Any = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise ValidationFailed("encoding_format: float or base64 is expected", param="encoding_format")
    dimensions = body.get("dimensions")
    whole = isinstance(dimensions, int) and not isinstance(dimensions, bool) and 1 <= dimensions <= 65_536
    if dimensions is not None and not whole:
        raise ValidationFailed("dimensions: a whole number from 1 is expected", param="dimensions")
    extra = {name: value for name, value in body.items() if name in _EXTRA and value is not None}
    return EmbedRequest(model, _inputs(body.get("input")), encoding, dimensions, user, extra)


def encode(embeddings: Embeddings, encoding: str, model: str) -> dict[str, Any]:
    """A list of embeddings. ``model`` as the caller named it."""
    to = _base64 if encoding == "base64" else _floats
    tokens = embeddings.usage.input_tokens
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": at, "embedding": to(vector)}
            for at, vector in enumerate(embeddings.vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _base64(vector: str | list[float]) -> str:
    if isinstance(vector, str):
        return vector
    packed = array("f", vector)
    if byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()


def _floats(vector: str | list[float]) -> list[float]:
    if not isinstance(vector, str):
        return vector
    packed = array("f")
    packed.frombytes(base64.b64decode(vector))
    if byteorder == "big":
        packed.byteswap()
    return packed.tolist()


def _inputs(raw: Any) -> tuple[str | tuple[int, ...], ...]:
    """A text, a list of texts, a list of token ids, or a list of such lists."""
    if isinstance(raw, str) and raw:
        return (raw,)
    if isinstance(raw, list) and raw:
        if all(isinstance(item, str) and item for item in raw):
            return tuple(raw)
        if _tokens(raw):
            return (tuple(raw),)
        if all(_tokens(item) for item in raw):
            return tuple(tuple(item) for item in raw)
    raise ValidationFailed(
        "input: a text, a list of texts, or token ids are expected, none of them empty", param="input"
    )


def _tokens(raw: Any) -> bool:
    return isinstance(raw, list) and bool(raw) and all(type(item) is int and item >= 0 for item in raw)
