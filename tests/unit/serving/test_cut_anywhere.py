"""A provider's stream that is reset after any number of bytes: callers see the whole answer, or an explicit error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.fault_server import RESET, FaultServer, begun, chunk, event
from fixtures.house import House
from fixtures.upstream import anthropic_events, openai_chunks
from unit.serving.test_failing_providers import DOORS, PROVIDERS, Waits, ask, failing, failure, waits

__all__ = ["waits"]  # a fixture

#: Every so many bytes, so that the cuts fall into heads, sizes of chunks, names, texts and ends.
STRIDE = 9
SAID = {
    "f-one": begun(*openai_chunks("We", "ll."), b"[DONE]") + chunk(b""),
    "f-claude": begun()
    + b"".join(chunk(f"event: {item['type']}\n".encode() + event(item)) for item in anthropic_events("We", "ll."))
    + chunk(b""),
}


@pytest.fixture(scope="module")
def provider(house: House) -> Iterator[FaultServer]:
    """One that a busy machine gives time: nothing here is about silence."""
    with failing(house, PROVIDERS.replace("0.5", "20")) as server:
        yield server


def read(path: str, raw: bytes) -> tuple[str, bool]:
    """What was told, and whether it was told to its end."""
    items: list[dict[str, Any]] = [
        json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: {")
    ]
    if path == "/v1/chat/completions":
        choices = [choice for item in items for choice in item.get("choices", ())]
        ended = any(choice["finish_reason"] for choice in choices) and raw.endswith(b"data: [DONE]\n\n")
        return "".join(choice["delta"].get("content") or "" for choice in choices), ended
    if path == "/v1/messages":
        texts = [item["delta"]["text"] for item in items if item["type"] == "content_block_delta"]
        return "".join(texts), items[-1]["type"] == "message_stop"
    texts = [item["delta"] for item in items if item["type"] == "response.output_text.delta"]
    return "".join(texts), items[-1]["type"] == "response.completed"


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("model", SAID)
def test_a_reset_at_any_byte_is_the_whole_answer_or_an_error(
    house: House, provider: FaultServer, waits: Waits, path: str, model: str
) -> None:
    said, seen = SAID[model], set()
    for at in range(0, len(said) + STRIDE, STRIDE):
        provider.play([said[:at], RESET])
        found = ask(house, model, path, stream=True)
        if found.status != 200:
            assert found.status == 502
            assert len(provider.asked) == 2, "before the first word it is asked once more"
            seen.add("refused")
            continue
        told, ended = read(path, found.raw)
        assert "Well.".startswith(told)
        if ended:
            assert told == "Well."
        else:
            assert failure(path, found.raw)
        seen.add("whole" if ended else "error")
    assert seen == {"refused", "error", "whole"}
