"""A provider's API beside its models: small JSON answers, uploads, and long answers read line by line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway.errors import UpstreamError
from gateway.ids import new_id
from gateway.providers.http_target import Target, target_of
from gateway.providers.transport import Transport
from gateway.providers.upstream_errors import error_of
from gateway.registry.catalogue import ProviderSpec

_GOOD = frozenset({200, 201})
#: No line of results may be longer.
_LONGEST_LINE = 64 * 1024 * 1024


class JsonClient:
    """Calls paths below a provider's address with the headers that open it."""

    def __init__(self, provider: ProviderSpec, headers: dict[str, str], transport: Transport) -> None:
        self._provider = provider
        self._headers = headers
        self._transport = transport

    async def get(self, path: str) -> dict[str, Any]:
        """The object at ``path``."""
        return await self._exchange("GET", path, b"", {})

    async def post(
        self, path: str, body: bytes, kind: str = "application/json", *, once: bool = False
    ) -> dict[str, Any]:
        """The object that the provider answers; ``once``: never sent again unseen."""
        return await self._exchange("POST", path, body, {"content-type": kind}, once=once)

    async def delete(self, path: str) -> None:
        """Deletes what is at ``path``."""
        await self._exchange("DELETE", path, b"", {})

    async def upload(self, path: str, fields: dict[str, str], filename: str, content: bytes) -> dict[str, Any]:
        """A form with one file, named ``file``."""
        edge = new_id("edge")
        parts = [
            f'--{edge}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="{filename}"\r\n'
        parts += [head.encode(), b"content-type: application/jsonl\r\n\r\n", content, f"\r\n--{edge}--\r\n".encode()]
        return await self.post(path, b"".join(parts), f"multipart/form-data; boundary={edge}")

    async def lines(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The JSON objects of a file of lines, as they come."""
        response = await self._transport.open(
            self._target("GET", path, {"accept": "*/*"}), b"", self._provider.timeouts
        )
        ended = False
        try:
            if response.status not in _GOOD:
                raise error_of(self._provider.name, response.status, response.headers, await response.read())
            rest = b""
            while chunk := await response.chunk():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield self._object(line)
                if len(rest) > _LONGEST_LINE:
                    raise UpstreamError(f"{self._provider.name} sent a line that is longer than any we take")
            if rest.strip():
                yield self._object(rest)
            ended = True
        finally:
            response.close(ended=ended)

    async def _exchange(
        self, method: str, path: str, body: bytes, more: dict[str, str], *, once: bool = False
    ) -> dict[str, Any]:
        target = self._target(method, path, {"accept": "application/json", **more})
        response = await self._transport.send(target, body, self._provider.timeouts, once=once)
        if response.status not in _GOOD:
            raise error_of(self._provider.name, response.status, response.headers, response.body)
        return self._object(response.body)

    def _target(self, method: str, path: str, more: dict[str, str]) -> Target:
        headers = {**more, "user-agent": "gnanam-ai-gateway", **self._headers}
        url = self._provider.base_url + path
        return target_of(url, headers, method=method, proxy=self._provider.proxy)

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            value = msgspec.json.decode(content)
        except (ValueError, RecursionError) as error:
            raise UpstreamError(f"{self._provider.name} answered with no JSON", reached=True) from error
        if not isinstance(value, dict):
            raise UpstreamError(f"{self._provider.name} answered with no object", reached=True)
        return value


def path_of(url: str, base_url: str) -> str:
    """The path of an address that a provider tells, below ``base_url``: whatever host it names, our credential
    goes to the configured one alone."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return path.removeprefix(urlsplit(base_url).path)


def text_in(row: dict[str, Any], name: str) -> str:
    """A text that an answer must have; ``UpstreamError`` where it has not."""
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise UpstreamError(f"the provider answered without {name}", reached=True)
    return value
