"""Calls one endpoint of a provider: bodies out, good answers in, errors of ours for all others."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.providers.endpoints import Address, Endpoint, FixedEndpoint
from gateway.providers.http_target import Target, target_of
from gateway.providers.transport import StreamedResponse, Transport
from gateway.providers.upstream_errors import error_of, no_stream
from gateway.registry.catalogue import Timeouts

_WHOLE, _STREAMED = "application/json", "text/event-stream"
#: The most heads that are kept made for one endpoint.
_MOST_MADE = 64
#: Types of content that are no stream of events, whatever the status says.
_NO_STREAMS = ("text/html", "application/json")


class EndpointClient:
    """Sends to one endpoint; an address that stays the same is made into a request's head once."""

    def __init__(self, provider: str, endpoint: Endpoint, transport: Transport, timeouts: Timeouts, proxy: str) -> None:
        self._provider = provider
        self._endpoint = endpoint
        self._transport = transport
        self._timeouts = timeouts
        self._proxy = proxy
        self._made: dict[str, tuple[Address, Target]] = {}
        #: Where every call without headers of its own goes, by what it takes for an answer.
        self._fixed: dict[str, Target] = {}

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of a good answer; the error that any other means. ``headers`` go beside the endpoint's own."""
        target = (None if headers else self._fixed.get(_WHOLE)) or await self._target(body, _WHOLE, headers)
        response = await self._transport.send(target, body, self._timeouts)
        if response.status != 200:
            raise error_of(self._provider, response.status, response.headers, response.body)
        return response.body

    async def open(self, body: bytes, headers: Mapping[str, str] | None = None) -> StreamedResponse:
        """A good answer that is still coming; the error that any other means."""
        target = (None if headers else self._fixed.get(_STREAMED)) or await self._target(body, _STREAMED, headers)
        response = await self._transport.open(target, body, self._timeouts)
        try:
            if response.status != 200:
                raise error_of(self._provider, response.status, response.headers, await response.read())
            kind = response.header(b"content-type").partition(";")[0].strip().lower()
            if kind in _NO_STREAMS:
                raise no_stream(self._provider, kind, await response.read())
        except BaseException:
            response.close()
            raise
        return response

    async def _target(self, body: bytes, accept: str, headers: Mapping[str, str] | None) -> Target:
        address = await self._endpoint.address(body, stream=accept != _WHOLE)
        name = f"{accept}\n{headers}" if headers else accept
        made = self._made.get(name)
        if made is not None and made[0] is address:
            return made[1]
        own = _joined(address.headers, headers) if headers else address.headers
        target = target_of(address.url, _headers(own, accept), proxy=self._proxy)
        if len(self._made) >= _MOST_MADE:
            self._made.clear()
        self._made[name] = (address, target)
        if not headers and isinstance(self._endpoint, FixedEndpoint):
            self._fixed[accept] = target
        return target


def _headers(own: Mapping[str, str], accept: str) -> dict[str, str]:
    return {"content-type": "application/json", "accept": accept, "user-agent": "gnanam-ai-gateway", **own}


def _joined(own: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Both; the caller's before ours, but for a list of betas, which is both together."""
    found = {name.lower(): value for name, value in own.items()}
    for name, value in more.items():
        found[name] = f"{found[name]},{value}" if name in found and name.endswith("-beta") else value
    return found
