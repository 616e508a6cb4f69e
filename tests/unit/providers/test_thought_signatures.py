"""A model that refuses tool calls without thought signatures, in a conversation that another model began."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fixtures.upstream import answer, running_upstream
from gateway.clock import SystemClock
from gateway.models.llm_models import Chat, Message, TextPart, ToolResultPart, ToolUsePart
from gateway.providers.directory import ProviderDirectory
from gateway.providers.local_llm import LocalServerNote
from gateway.providers.transport import Transport
from gateway.registry.catalogue import ModelSpec, ProviderSpec

HI = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
TALK = Chat(
    "any",
    (
        Message("user", (TextPart("Rome and Oslo?"),)),
        Message("assistant", (ToolUsePart("a", "f", "{}"), ToolUsePart("b", "f", "{}"))),
        Message("tool", (ToolResultPart("a", "1"), ToolResultPart("b", "2"))),
        Message("assistant", (TextPart("And"), ToolUsePart("c", "f", "{}", "mine"), ToolUsePart("d", "f", "{}"))),
        Message("tool", (ToolResultPart("c", "3"), ToolResultPart("d", "4"))),
    ),
)


@pytest.mark.parametrize(
    ("name", "signatures"),
    [
        ("gemini-3-pro-preview", ["skip_thought_signature_validator", None, "mine", None]),
        ("gemini-2.5-flash", [None, None, "mine", None]),
    ],
)
def test_calls_of_other_models_are_told_apart(name: str, signatures: list[str | None]) -> None:
    async def call(url: str) -> None:
        transport = Transport()
        directory = ProviderDirectory(transport, LocalServerNote(Path("/nonexistent")), SystemClock())
        provider = ProviderSpec(name="them", type="gemini", base_url=url, api_key="key")
        try:
            await directory.language_model(provider, ModelSpec("mine", "llm", "them", name)).complete(TALK)
        finally:
            await transport.close()

    with running_upstream() as upstream:
        upstream.play(answer(HI))
        asyncio.run(call(upstream.url))
        parts = [part for turn in upstream.sent[0].body["contents"] for part in turn["parts"]]
        assert [part.get("thoughtSignature") for part in parts if "functionCall" in part] == signatures
