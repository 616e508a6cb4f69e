"""OpenAI's moderations over HTTP: the caller's input goes out, the provider's judgements come back as they stand."""

from __future__ import annotations

import msgspec

from gateway.errors import UpstreamError
from gateway.models.moderation_models import Moderation, ModerationRequest
from gateway.providers.endpoints import Endpoint
from gateway.providers.transport import Transport
from gateway.providers.upstream_errors import error_of
from gateway.registry.catalogue import Timeouts


class HttpModerations:
    """See ``models.moderation_models.ModerationModel``."""

    def __init__(
        self, provider: str, upstream_model: str, endpoint: Endpoint, transport: Transport, timeouts: Timeouts
    ) -> None:
        self._provider = provider
        self._model = upstream_model
        self._endpoint = endpoint
        self._transport = transport
        self._timeouts = timeouts

    async def moderate(self, request: ModerationRequest) -> Moderation:
        body = msgspec.json.encode({"model": self._model, "input": request.input})
        address = await self._endpoint.address(body, stream=False)
        headers = {"content-type": "application/json", "accept": "application/json", **address.headers}
        response = await self._transport.post(address.url, body, headers, self._timeouts)
        if response.status != 200:
            raise error_of(self._provider, response.status, response.headers, response.body)
        return decode(response.body)


def decode(content: bytes) -> Moderation:
    """``UpstreamError`` for an answer that is not of this shape."""
    try:
        raw = msgspec.json.decode(content)
        if not isinstance(raw["results"], list):
            raise TypeError("results is a list")
        return Moderation(raw, str(raw.get("model") or ""))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamError("the provider's answer is not of the shape it should be", reached=True) from error
