"""OpenAI's embeddings as bytes: encode a request, decode the vectors. Pure."""

from __future__ import annotations

import msgspec

from gateway.errors import UpstreamMalformed
from gateway.models.embedding_models import Embeddings, EmbedRequest
from gateway.models.llm_models import Usage
from gateway.providers.usage_counts import count_of, part_of


def encode(request: EmbedRequest, upstream_model: str) -> bytes:
    """The request body."""
    body = {**request.extra, "model": upstream_model, "input": list(request.inputs)}
    if request.encoding != "float":
        body["encoding_format"] = request.encoding
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user:
        body["user"] = request.user
    return msgspec.json.encode(body)


def decode(content: bytes, count: int) -> Embeddings:
    """``count`` vectors by their index. ``UpstreamError`` for an answer that is not of this shape."""
    try:
        raw = msgspec.json.decode(content)
        by_index = {int(item["index"]): item["embedding"] for item in raw["data"]}
        vectors = tuple(by_index[at] for at in range(count))
        if not all(isinstance(vector, (str, list)) for vector in vectors):
            raise TypeError("a vector is a list or base64")
        counted = part_of(raw, "usage")
        tokens = count_of(counted, "prompt_tokens") or count_of(counted, "total_tokens")
        usage = Usage(input_tokens=tokens, basis="provider") if tokens else Usage()
        return Embeddings(vectors, str(raw.get("model") or ""), usage)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamMalformed("the provider's answer is not of the shape it should be", reached=True) from error
