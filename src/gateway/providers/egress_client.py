"""The client for addresses that a caller chose: connects only to what ``security.egress`` has checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from gateway.events.outbox import Receipt
from gateway.providers.http_target import target_of
from gateway.providers.transport import Transport
from gateway.registry.catalogue import Timeouts
from gateway.security.egress import CheckedUrl, EgressPolicy, check_url

_TIMEOUTS = Timeouts(connect=5, first_byte=10, idle=10, total=10)
#: What of a path or a query is sent as it is written; the rest is encoded.
_PLAIN = "/?%:@!$&'()*+,;=~[]-._"


class EgressClient:
    """Posts to checked addresses; no redirects, no proxies, the answer's body is not read."""

    def __init__(self, policy: EgressPolicy, trusted: ssl.SSLContext | None = None) -> None:
        """``trusted`` says which certificates are good; left out: those of the system."""
        self._policy = policy
        self._trusted = trusted

    def check(self, url: str) -> CheckedUrl:
        """Whether the URL may be called now. Blocks on the resolver."""
        return check_url(url, policy=self._policy)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Receipt:
        """What was answered. ``EgressDenied``, ``UpstreamUnavailable`` or ``UpstreamTimeout`` otherwise."""
        checked = await asyncio.to_thread(self.check, url)
        transport = Transport(await asyncio.to_thread(self._certificates, checked), _Pinned(checked.addresses))
        try:
            response = await transport.open(target_of(_written(checked), headers), body, _TIMEOUTS)
            response.close()
            return Receipt(response.status, response.headers.get("retry-after", ""))
        except UpstreamTimeout as error:
            raise UpstreamTimeout("the receiver did not answer in time", **error.details) from error
        except UpstreamUnavailable as error:
            told = error.message.replace("the provider", "the receiver")
            raise UpstreamUnavailable(f"the receiver could not be reached ({told})", **error.details) from error
        finally:
            await transport.close()

    def _certificates(self, checked: CheckedUrl) -> ssl.SSLContext | None:
        """Read once: it takes a while."""
        if self._trusted is None and checked.scheme == "https":
            self._trusted = ssl.create_default_context()
        return self._trusted


class _Pinned:
    """Answers with the checked addresses, whatever is asked."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    async def addresses(self, _host: str, _port: int) -> tuple[str, ...]:
        return self._addresses

    def forget(self, _host: str, _port: int) -> None:
        """There are no others."""


def _written(checked: CheckedUrl) -> str:
    """The URL in characters that HTTP takes, its host as it was checked."""
    parts = urlsplit(checked.url)
    host = f"[{checked.host}]" if ":" in checked.host else checked.host
    name = host if parts.port is None else f"{host}:{checked.port}"
    query = f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else ""
    return f"{checked.scheme}://{name}{quote(parts.path, safe=_PLAIN) or '/'}{query}"
