"""The batch APIs' own answers, page by page and line by line, as the providers' references write them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.models.batch_models import BatchLook, BatchResult, Undecided
from gateway.providers.anthropic_batches import AnthropicBatches
from gateway.providers.http_models import AnthropicWire, OpenAIWire
from gateway.providers.json_client import path_of
from gateway.providers.openai_batches import OpenAIBatches

NAMES = frozenset({"ask_1"})


class Pages:
    """Answers by path; what was asked is kept."""

    def __init__(self, pages: dict[str, dict[str, Any]], files: dict[str, list[dict[str, Any]]]) -> None:
        self.pages, self.files, self.asked = pages, files, list[str]()

    async def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return self.pages[path]

    async def lines(self, path: str) -> AsyncIterator[dict[str, Any]]:
        for row in self.files[path]:
            yield json.loads(json.dumps(row))


def openai_api(pages: dict[str, Any], files: dict[str, Any] | None = None) -> OpenAIBatches:
    return OpenAIBatches(OpenAIWire("gpt-4o", official=True), Pages(pages, files or {}))  # type: ignore[arg-type]


def anthropic_api(pages: dict[str, Any], files: dict[str, Any] | None = None) -> AnthropicBatches:
    client: Any = Pages(pages, files or {})
    return AnthropicBatches(AnthropicWire("claude", 99), client, "https://api.anthropic.com")


def results(api: Any, look: BatchLook) -> list[BatchResult]:
    async def read() -> list[BatchResult]:
        return [item async for item in api.results(look)]

    return asyncio.run(read())


def row(name: str, marker: str, created: int = 1_700_000_000) -> dict[str, Any]:
    return {"id": name, "object": "batch", "created_at": created, "metadata": {"gateway_part": marker}}


def test_openais_batch_is_found_on_a_later_page() -> None:
    pages = {
        "/batches?limit=100": {"data": [row("b2", "part_2")], "has_more": True},
        "/batches?limit=100&after=b2": {"data": [row("b1", "part_1")], "has_more": True},
    }
    assert asyncio.run(openai_api(pages).find("part_1", 1_700_000_000, NAMES, frozenset())) == "b1"


def test_openais_batches_are_not_searched_for_ever() -> None:
    pages = {"/batches?limit=100": {"data": [row("b2", "part_2", 1_600_000_000)], "has_more": True}}
    assert asyncio.run(openai_api(pages).find("part_1", 1_700_000_000, NAMES, frozenset())) is None


def test_openais_results() -> None:
    body = {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}
    refused = {"error": {"message": "bad", "type": "invalid_request_error", "param": None, "code": None}}
    expired = {"code": "batch_expired", "message": "This request could not be executed in time."}
    files = {
        "/files/out/content": [
            {"id": "r1", "custom_id": "a", "response": {"status_code": 200, "request_id": "x", "body": body}},
        ],
        "/files/err/content": [
            {"id": "r2", "custom_id": "b", "response": {"status_code": 400, "body": refused}, "error": None},
            {"id": "r3", "custom_id": "c", "response": None, "error": expired},
        ],
    }
    look = BatchLook("b", "ended", "expired", ("out", "err"))
    good, bad, late = results(openai_api({}, files), look)
    assert json.loads(good.answer) == body
    assert (bad.name, bad.code, bad.status, bad.message) == ("b", "invalid_request_error", 400, "bad")
    assert (late.name, late.code, late.status) == ("c", "batch_expired", 0)


def message_batch(name: str, status: str, processing: int = 0, succeeded: int = 1) -> dict[str, Any]:
    counts = {"processing": processing, "succeeded": succeeded, "errored": 0, "canceled": 0, "expired": 0}
    url = f"https://api.anthropic.com/v1/messages/batches/{name}/results" if status == "ended" else None
    return {
        "id": name,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": "2026-03-04T12:00:00.100435Z",
        "results_url": url,
    }


def test_anthropics_batch_is_known_by_its_results() -> None:
    listed = [message_batch("other", "ended"), message_batch("big", "ended", succeeded=2), message_batch("m", "ended")]
    files = {
        "/v1/messages/batches/other/results": [{"custom_id": "theirs", "result": {"type": "canceled"}}],
        "/v1/messages/batches/m/results": [{"custom_id": "ask_1", "result": {"type": "canceled"}}],
    }
    api = anthropic_api({"/v1/messages/batches?limit=100": {"data": listed, "has_more": False}}, files)
    assert asyncio.run(api.find("part", 1_772_625_600, NAMES, frozenset())) == "m"
    assert asyncio.run(api.find("part", 1_772_625_600, NAMES, frozenset({"m"}))) is None


def test_anthropics_batch_under_way_is_waited_for() -> None:
    listed = [message_batch("m", "in_progress", processing=1, succeeded=0)]
    api = anthropic_api({"/v1/messages/batches?limit=100": {"data": listed, "has_more": False}})
    with pytest.raises(Undecided):
        asyncio.run(api.find("part", 1_772_625_600, NAMES, frozenset()))


def test_anthropics_results() -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}}
    lines = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"id": "msg", "content": []}}},
        {"custom_id": "b", "result": {"type": "errored", "error": error}},
        {"custom_id": "c", "result": {"type": "canceled"}},
        {"custom_id": "d", "result": {"type": "expired"}},
    ]
    found = results(anthropic_api({}, {"/r": lines}), BatchLook("m", "ended", "ended", ("/r",)))
    assert json.loads(found[0].answer) == {"id": "msg", "content": []}
    assert [(item.code, item.status) for item in found[1:]] == [
        ("invalid_request_error", 400),
        ("batch_cancelled", 0),
        ("batch_expired", 0),
    ]


def test_results_are_read_at_the_configured_host_alone() -> None:
    assert path_of("https://elsewhere.example/v1/messages/batches/m/results", "https://api.anthropic.com") == (
        "/v1/messages/batches/m/results"
    )
    assert path_of("https://x.example/proxy/v1/r?a=1", "https://gw.example/proxy") == "/v1/r?a=1"
