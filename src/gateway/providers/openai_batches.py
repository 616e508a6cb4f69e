"""OpenAI's batch API: a file of requests goes up, a batch is made of it, files of results come down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.models.batch_models import BatchAsk, BatchLook, BatchResult, BatchState
from gateway.models.llm_models import Chat, Reply
from gateway.providers.http_models import Wire
from gateway.providers.json_client import JsonClient, text_in

_ENDPOINT = "/v1/chat/completions"
#: Where our name of a batch stands in its metadata.
_MARKER = "gateway_part"
_ENDED = frozenset({"completed", "expired", "cancelled"})
_PAGE = 100
#: Seconds by which the provider's clock and ours may differ.
_SLACK = 300


class OpenAIBatches:
    """See ``models.batch_models.BatchApi``; for one model, for a file may name only one."""

    def __init__(self, wire: Wire, client: JsonClient) -> None:
        self._wire = wire
        self._client = client

    def encode(self, chat: Chat) -> tuple[bytes, tuple[str, ...]]:
        return self._wire.encode(chat, stream=False)

    def decode(self, answer: bytes) -> Reply:
        return self._wire.decode_reply(answer)

    async def submit(self, marker: str, asks: Sequence[BatchAsk]) -> str:
        lines = b"\n".join(
            msgspec.json.encode(
                {"custom_id": ask.name, "method": "POST", "url": _ENDPOINT, "body": msgspec.Raw(ask.body)}
            )
            for ask in asks
        )
        file = await self._client.upload("/files", {"purpose": "batch"}, f"{marker}.jsonl", lines)
        body = {
            "input_file_id": text_in(file, "id"),
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {_MARKER: marker},
        }
        return text_in(await self._client.post("/batches", msgspec.json.encode(body), once=True), "id")

    async def find(self, marker: str, since: int, names: frozenset[str], taken: frozenset[str]) -> str | None:
        after = ""
        while True:
            page = await self._client.get(f"/batches?limit={_PAGE}{after}")
            rows = [row for row in page.get("data") or () if isinstance(row, dict)]
            for row in rows:
                if (row.get("metadata") or {}).get(_MARKER) == marker:
                    return text_in(row, "id")
            if not rows or not page.get("has_more") or int(rows[-1].get("created_at") or 0) < since - _SLACK:
                return None
            after = f"&after={quote(text_in(rows[-1], 'id'))}"

    async def look(self, batch_id: str) -> BatchLook:
        row = await self._client.get(f"/batches/{quote(batch_id)}")
        word = str(row.get("status") or "")
        state: BatchState = "ended" if word in _ENDED else "failed" if word == "failed" else "running"
        results = tuple(str(row[name]) for name in ("output_file_id", "error_file_id") if row.get(name))
        files = (*results, str(row["input_file_id"])) if row.get("input_file_id") else results
        problems = (row.get("errors") or {}).get("data") or ()
        problem = "; ".join(f"{item.get('code')}: {item.get('message')}" for item in problems)[:500]
        return BatchLook(batch_id, state, word, results, files, problem)

    async def results(self, look: BatchLook) -> AsyncIterator[BatchResult]:
        for file in look.results:
            async for row in self._client.lines(f"/files/{quote(file)}/content"):
                yield _result(row)

    async def cancel(self, batch_id: str) -> None:
        await self._client.post(f"/batches/{quote(batch_id)}/cancel", b"")

    async def discard(self, look: BatchLook) -> None:
        for file in look.files:
            await self._client.delete(f"/files/{quote(file)}")


def _result(row: dict[str, Any]) -> BatchResult:
    name = str(row.get("custom_id") or "")
    response, error = row.get("response"), row.get("error")
    if isinstance(response, dict):
        status, body = int(response.get("status_code") or 0), response.get("body")
        if status == 200 and isinstance(body, dict):
            return BatchResult(name, answer=msgspec.json.encode(body))
        told = body.get("error") if isinstance(body, dict) else None
        return _failed(name, told, status)
    return _failed(name, error, 0)


def _failed(name: str, error: Any, status: int) -> BatchResult:
    told = error if isinstance(error, dict) else {}
    code = str(told.get("code") or told.get("type") or "upstream_error")
    return BatchResult(name, code=code, message=str(told.get("message") or "no answer"), status=status)
