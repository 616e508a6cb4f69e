"""The head of an answer as the bytes that go over the wire: what many answers have alike is made once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gateway.api.wire.headers import answer_headers, anthropic_limit_headers
from gateway.money import plain_usd
from gateway.serving.answer import AnswerMeta

#: The most beginnings that are remembered.
_MOST = 1_000
#: What would end a line, or is no text.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class Head:
    """Header lines, names in lower case. Iterates as pairs, as ASGI has them; ``block`` is how they are sent.
    ``length`` is the body's, where it is known; the block has a line for it."""

    __slots__ = ("block", "length")

    def __init__(self, lines: str, length: int | None = None) -> None:
        more = "" if length is None else f"content-length: {length}\r\n"
        self.block = f"{lines}{more}".encode("latin-1", "replace")
        self.length = length

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for line in self.block.split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            yield name, value


class AnswerHeads:
    """Heads of the answers of one process; see ``headers.answer_headers``."""

    def __init__(self) -> None:
        self._alike: dict[tuple[object, ...], str] = {}

    def of(
        self, request_id: str, meta: AnswerMeta, more: str, length: int | None = None, *, final: bool = True
    ) -> Head:
        """The head of an answer; ``more`` are further lines, each with its end. ``final=False`` (a stream has
        begun) leaves the cost out."""
        if meta.dropped_params or meta.guards or meta.flags or meta.tokens_saved is not None:
            lines = lines_of(answer_headers(meta, final=final))
            return Head(f"x-request-id: {request_id}\r\n{lines}{more}", length)
        cost = f"x-gateway-cost-usd: {plain_usd(meta.cost)}\r\n" if final else ""
        limits, left = meta.limits, ""
        requests = tokens = None
        if limits is not None:
            requests, tokens = limits.limit_requests, limits.limit_tokens
            if requests is not None:
                left = (
                    f"x-ratelimit-remaining-requests: {limits.remaining_requests}\r\n"
                    f"x-ratelimit-reset-requests: {limits.reset_requests or 0:g}s\r\n"
                )
            if tokens is not None:
                left += (
                    f"x-ratelimit-remaining-tokens: {limits.remaining_tokens}\r\n"
                    f"x-ratelimit-reset-tokens: {limits.reset_tokens or 0:g}s\r\n"
                )
        key = (meta.model, meta.provider, meta.cache, meta.attempts, meta.config_epoch, meta.route, requests, tokens)
        alike = self._alike.get(key) or self._begin(key, meta)
        return Head(f"x-request-id: {request_id}\r\n{alike}{cost}{left}{more}", length)

    def _begin(self, key: tuple[object, ...], meta: AnswerMeta) -> str:
        if len(self._alike) >= _MOST:
            self._alike.clear()
        named = answer_headers(meta, final=False)
        alike = {name: value for name, value in named.items() if not name.startswith(_CHANGING)}
        lines = self._alike[key] = lines_of(alike)
        return lines


_CHANGING = ("x-ratelimit-remaining-", "x-ratelimit-reset-")


def limit_lines(path: str, meta: AnswerMeta) -> str:
    """What is left of limits, in the words that the door of ``path`` has of its own for it."""
    if meta.limits is None or not path.startswith("/v1/messages"):
        return ""
    return lines_of(anthropic_limit_headers(meta.limits))


def lines_of(named: Mapping[str, str]) -> str:
    """These headers as lines, each with its end."""
    return "".join([f"{name}: {_CONTROLS.sub('?', value)}\r\n" for name, value in named.items()])
