"""OpenAI's moderations over HTTP: the caller's input goes out, the provider's judgements come back as they stand."""

from __future__ import annotations

import msgspec

from gateway.errors import UpstreamMalformed
from gateway.models.moderation_models import Moderation, ModerationRequest
from gateway.providers.endpoint_client import EndpointClient


class HttpModerations:
    """See ``models.moderation_models.ModerationModel``."""

    def __init__(self, upstream_model: str, client: EndpointClient) -> None:
        self._model = upstream_model
        self._client = client

    async def moderate(self, request: ModerationRequest) -> Moderation:
        body = msgspec.json.encode({"model": self._model, "input": request.input})
        return decode(await self._client.post(body))


def decode(content: bytes) -> Moderation:
    """``UpstreamError`` for an answer that is not of this shape."""
    try:
        raw = msgspec.json.decode(content)
        if not isinstance(raw["results"], list):
            raise TypeError("results is a list")
        return Moderation(raw, str(raw.get("model") or ""))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamMalformed("the provider's answer is not of the shape it should be", reached=True) from error
