"""Where a deployment is called, and the headers that open it: a URL, or one that is signed or tokened per call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from msgspec import Struct

from gateway.clock import SECOND, Clock
from gateway.providers.sigv4 import Credentials, sign


class Address(Struct, frozen=True):
    """The whole URL, and the headers that open it."""

    url: str
    headers: dict[str, str]


class Endpoint(Protocol):
    """Asked at every call: an address may move, a signature holds for one body, a token runs out."""

    async def address(self, body: bytes, *, stream: bool) -> Address:
        """Where ``body`` is sent."""
        ...


class TokenSource(Protocol):
    """Gives a bearer token that is good now."""

    async def token(self) -> str: ...


class FixedEndpoint:
    """One address for every call."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.fixed = Address(url, dict(headers))

    async def address(self, body: bytes, *, stream: bool) -> Address:
        return self.fixed


class MovingEndpoint:
    """An address that somebody else knows."""

    def __init__(self, find: Callable[[], Address]) -> None:
        self._find = find

    async def address(self, body: bytes, *, stream: bool) -> Address:
        return self._find()


class GeminiEndpoint:
    """generateContent, or another ``method``: it and the model stand in the URL; a key, or a token per call
    (Vertex)."""

    def __init__(
        self,
        base_url: str,
        model: str,
        headers: Mapping[str, str],
        tokens: TokenSource | None = None,
        *,
        method: str = "",
    ) -> None:
        self._method = method
        self._url = f"{base_url}/models/{quote(model, safe='')}"
        self._headers = dict(headers)
        self._tokens = tokens

    async def address(self, body: bytes, *, stream: bool) -> Address:
        headers = self._headers
        if self._tokens is not None:
            headers = {**headers, "authorization": f"Bearer {await self._tokens.token()}"}
        method = self._method or ("streamGenerateContent?alt=sse" if stream else "generateContent")
        return Address(f"{self._url}:{method}", headers)


class BedrockEndpoint:
    """Bedrock's Converse, or another ``operation``: signed for each body (SigV4), or opened by a bearer key."""

    def __init__(
        self,
        base_url: str,
        model: str,
        region: str,
        clock: Clock,
        *,
        credentials: Credentials | None = None,
        bearer: str = "",
        headers: Mapping[str, str] | None = None,
        operation: str = "",
    ) -> None:
        self._operation = operation
        self._url = f"{base_url}/model/{quote(model, safe='')}"
        self._region = region
        self._clock = clock
        self._credentials = credentials
        self._headers = {**(headers or {}), **({"authorization": f"Bearer {bearer}"} if bearer else {})}

    async def address(self, body: bytes, *, stream: bool) -> Address:
        operation = self._operation or ("converse-stream" if stream else "converse")
        url = f"{self._url}/{operation}"
        if self._credentials is None:
            return Address(url, self._headers)
        at = datetime.fromtimestamp(self._clock.now() / SECOND, UTC)
        named = {"content-type": "application/json"}
        signed = sign(
            "POST", url, named, body, credentials=self._credentials, region=self._region, service="bedrock", at=at
        )
        return Address(url, {**self._headers, **signed})
