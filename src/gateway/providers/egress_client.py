"""The client for addresses that a caller chose: connects only to what ``security.egress`` has checked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from gateway.security.egress import CheckedUrl, EgressPolicy, check_url

_SECONDS = 15.0


class EgressClient:
    """Posts to checked addresses; no redirects, no proxies, the answer's body is not read."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    def check(self, url: str) -> CheckedUrl:
        """Whether the URL may be called now. Blocks on the resolver."""
        return check_url(url, policy=self._policy)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The HTTP status. ``EgressDenied``, ``UpstreamUnavailable`` or ``UpstreamTimeout`` otherwise."""
        checked = await asyncio.to_thread(self.check, url)
        connector = aiohttp.TCPConnector(resolver=_Pinned(checked), use_dns_cache=False, force_close=True)
        timeout = aiohttp.ClientTimeout(total=_SECONDS, sock_connect=5)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, trust_env=False, timeout=timeout) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return response.status
        except TimeoutError as error:
            raise UpstreamTimeout("the receiver did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnavailable(f"the receiver could not be reached ({type(error).__name__})") from error


class _Pinned(AbstractResolver):
    """Answers with the checked addresses, whatever is asked."""

    def __init__(self, checked: CheckedUrl) -> None:
        self._checked = checked

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._checked.addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""
