"""Anthropic's Message Batches: requests go up in one body, results come down as lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.errors import UpstreamError
from gateway.models.batch_models import BatchAsk, BatchLook, BatchResult, BatchState, Undecided
from gateway.models.llm_models import Chat, Reply
from gateway.providers.http_models import Wire
from gateway.providers.json_client import JsonClient, path_of, text_in

_PATH = "/v1/messages/batches"
_PAGE = 100
#: Seconds by which the provider's clock and ours may differ.
_SLACK = 300
_UNDONE = {"canceled": "the batch was cancelled before this request", "expired": "the provider's time for it ended"}


class AnthropicBatches:
    """See ``models.batch_models.BatchApi``."""

    def __init__(self, wire: Wire, client: JsonClient, base_url: str) -> None:
        self._wire = wire
        self._client = client
        self._base_url = base_url

    def encode(self, chat: Chat) -> tuple[bytes, tuple[str, ...]]:
        return self._wire.encode(chat, stream=False)

    def decode(self, answer: bytes) -> Reply:
        return self._wire.decode_reply(answer)

    async def submit(self, marker: str, asks: Sequence[BatchAsk]) -> str:
        requests = [{"custom_id": ask.name, "params": msgspec.Raw(ask.body)} for ask in asks]
        row = await self._client.post(_PATH, msgspec.json.encode({"requests": requests}), once=True)
        return text_in(row, "id")

    async def find(self, marker: str, since: int, names: frozenset[str], taken: frozenset[str]) -> str | None:
        """A batch has no words of ours in it but the names of its requests, and tells those when it has ended:
        one of the right size and time is waited for, and known by its first result."""
        undecided = False
        async for row in self._rows(since):
            if text_in(row, "id") in taken or _count(row) != len(names):
                continue
            if row.get("processing_status") != "ended":
                undecided = True
                continue
            async for result in self.results(_look(row, self._base_url)):
                if result.name in names:
                    return text_in(row, "id")
                break
        if undecided:
            raise Undecided(f"a batch at the provider may be {marker}")
        return None

    async def look(self, batch_id: str) -> BatchLook:
        return _look(await self._client.get(f"{_PATH}/{quote(batch_id)}"), self._base_url)

    async def results(self, look: BatchLook) -> AsyncIterator[BatchResult]:
        for path in look.results:
            async for row in self._client.lines(path):
                yield _result(row)

    async def cancel(self, batch_id: str) -> None:
        await self._client.post(f"{_PATH}/{quote(batch_id)}/cancel", b"")

    async def discard(self, look: BatchLook) -> None:
        await self._client.delete(f"{_PATH}/{quote(look.batch_id)}")

    async def _rows(self, since: int) -> AsyncIterator[dict[str, Any]]:
        """The batches made since then, newest first."""
        after = ""
        while True:
            page = await self._client.get(f"{_PATH}?limit={_PAGE}{after}")
            rows = [row for row in page.get("data") or () if isinstance(row, dict)]
            for row in rows:
                if _created(row) < since - _SLACK:
                    return
                yield row
            if not rows or not page.get("has_more"):
                return
            after = f"&after_id={quote(text_in(rows[-1], 'id'))}"


def _look(row: dict[str, Any], base_url: str) -> BatchLook:
    word = str(row.get("processing_status") or "")
    state: BatchState = "ended" if word == "ended" else "running"
    url = row.get("results_url")
    results = (path_of(str(url), base_url),) if state == "ended" and url else ()
    return BatchLook(text_in(row, "id"), state, word, results)


def _result(row: dict[str, Any]) -> BatchResult:
    name, result = str(row.get("custom_id") or ""), row.get("result")
    told = result if isinstance(result, dict) else {}
    kind, message = str(told.get("type") or ""), told.get("message")
    if kind == "succeeded" and isinstance(message, dict):
        return BatchResult(name, answer=msgspec.json.encode(message))
    if kind in _UNDONE:
        return BatchResult(name, code=f"batch_{'cancelled' if kind == 'canceled' else kind}", message=_UNDONE[kind])
    outer = told.get("error") if isinstance(told.get("error"), dict) else {}
    inner = outer.get("error") if isinstance(outer, dict) and isinstance(outer.get("error"), dict) else outer
    error = inner if isinstance(inner, dict) else {}
    code = str(error.get("type") or "upstream_error")
    status = {"invalid_request_error": 400, "overloaded_error": 529, "rate_limit_error": 429}.get(code, 500)
    return BatchResult(name, code=code, message=str(error.get("message") or "no answer"), status=status)


def _count(row: dict[str, Any]) -> int:
    counts = row.get("request_counts")
    return sum(int(value) for value in counts.values()) if isinstance(counts, dict) else -1


def _created(row: dict[str, Any]) -> int:
    try:
        return int(datetime.fromisoformat(str(row.get("created_at"))).timestamp())
    except ValueError as error:
        raise UpstreamError("the provider's batch has no created_at", reached=True) from error
