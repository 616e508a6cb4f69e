"""The table of ``docs/guide/dialects.md``: each row is tried at each backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway.api.wire import anthropic, openai
from gateway.errors import NotSupported
from gateway.models.llm_models import Chat
from gateway.providers import anthropic_wire, bedrock_wire, gemini_wire, openai_wire
from gateway.providers.embedded_wire import EmbeddedWire

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "dialects.md"
BACKENDS: dict[str, Any] = {
    "openai": lambda chat: openai_wire.encode(chat, "up", stream=False),
    "anthropic": lambda chat: anthropic_wire.encode(chat, "up", stream=False, max_tokens=99_000),
    "gemini": lambda chat: gemini_wire.encode(chat, stream=False),
    "bedrock": bedrock_wire.encode,
    "embedded": lambda chat: EmbeddedWire("up", 64).encode(chat, stream=False),
}
USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USED = [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c1", "content": "1"}]
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


def image(url: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


def by_openai(**fields: Any) -> Chat:
    return openai.decode({"model": "m", "messages": [USER], **fields}).chat


def by_anthropic(**fields: Any) -> Chat:
    return anthropic.decode({"model": "m", "max_tokens": 9_000, "messages": [USER], **fields}).chat


def block(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [fields, {"type": "text", "text": "Hello"}]}]


def shown(source: dict[str, Any]) -> Chat:
    used = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    content = [{"type": "text", "text": "A chart."}, {"type": "image", "source": source}]
    result = {"type": "tool_result", "tool_use_id": "c1", "content": content}
    turns = [USER, {"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
    chat = by_anthropic(messages=turns, tools=[{"name": "f", "input_schema": {"type": "object"}}])
    return structs.replace(chat, native=None)  # as it is where a guard changed it


THOUGHT = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]}
#: The beginning of each row, and the chats that try it.
ROWS: dict[str, list[Chat]] = {
    "system and developer turns": [by_openai(messages=[{"role": "developer", "content": "Brief."}, USER])],
    "images in base64": [by_openai(messages=[image("data:image/png;base64,aGk=")])],
    "images by URL": [by_openai(messages=[image("https://example.com/a.png")])],
    "tools, tool calls and results": [by_openai(tools=[TOOL], messages=USED)],
    "images in tools' results, in base64": [shown({"type": "base64", "media_type": "image/png", "data": "aGk="})],
    "images in tools' results, by URL": [shown({"type": "url", "url": "https://example.com/a.png"})],
    "forced tool, `none`, `required`": [by_openai(tools=[TOOL], tool_choice=it) for it in ("none", "required")],
    "`parallel_tool_calls: false`": [by_openai(tools=[TOOL], parallel_tool_calls=False)],
    "`response_format` of `json_schema`": [by_openai(response_format=SCHEMA)],
    "`response_format` of `json_object`": [by_openai(response_format={"type": "json_object"})],
    "`n` above 1": [by_openai(n=2)],
    "`temperature`, `top_p`": [by_openai(temperature=0.3, top_p=0.4, max_tokens=9, stop=["x"])],
    "`seed`, penalties": [by_openai(seed=1), by_openai(presence_penalty=0.5), by_openai(frequency_penalty=0.5)],
    "`reasoning_effort`": [by_openai(reasoning_effort="low")],
    "`thinking` with a budget": [by_anthropic(thinking={"type": "enabled", "budget_tokens": 2048})],
    "`logprobs`, `logit_bias`": [
        by_openai(logprobs=True),
        by_openai(logit_bias={"5": 1}),
    ],
    "audio, files": [
        by_openai(modalities=["text", "audio"]),
        by_openai(web_search_options={}),
        by_openai(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]),
        by_openai(functions=[TOOL["function"]]),
    ],
    "`custom` tools, a choice": [
        by_openai(tools=[{"type": "custom", "custom": {"name": "c"}}]),
        by_openai(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
    ],
    "[fields of other servers]": [by_openai(top_k=5), by_openai(chat_template_kwargs={"enable_thinking": False})],
    "documents, server tools": [
        by_anthropic(messages=block(type="document", source={"type": "url", "url": "https://example.com/a.pdf"})),
        by_anthropic(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        by_anthropic(container="c"),
    ],
    "`cache_control`, citations": [by_anthropic(messages=block(type="text", text="x", cache_control={"type": "e"}))],
    "`top_k` of": [by_anthropic(top_k=5)],
    "an answer begun by the caller": [by_anthropic(messages=[USER, {"role": "assistant", "content": "{"}])],
    "`store`, `metadata`": [
        by_openai(store=True),
        by_openai(metadata={"a": "b"}),
        by_openai(service_tier="flex"),
        by_openai(prompt_cache_key="k"),
        by_openai(verbosity="low"),
    ],
    "thinking of earlier turns": [by_anthropic(messages=[USER, THOUGHT, USER])],
    "thought signatures of tool calls": [
        by_openai(tools=[TOOL], messages=[USER, {"role": "assistant", "tool_calls": [CALL | SIGNED]}, *USED[2:]])
    ],
}


def table() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows[1:] if len(row) == 6]


def test_every_row_is_tried() -> None:
    rows = [row[0] for row in table()]
    assert len(rows) == len(ROWS)
    assert all(any(row.startswith(tried) for row in rows) for tried in ROWS)


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_it_is_as_the_page_says(row: list[str]) -> None:
    (chats,) = [chats for beginning, chats in ROWS.items() if row[0].startswith(beginning)]
    for backend, cell in zip(BACKENDS, row[1:], strict=True):
        for chat in chats:
            word = cell.split(";")[0]
            if word == "refused":
                with pytest.raises(NotSupported):
                    BACKENDS[backend](chat)
                continue
            content, named = BACKENDS[backend](chat)
            assert content
            assert bool(named) == (word == "named"), (row[0], backend, named)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_empty_asks_for_nothing(backend: str) -> None:
    content, named = BACKENDS[backend](by_openai(logit_bias={}, functions=[], metadata={}))
    assert content
    assert not named or backend == "embedded"


def test_search_without_options_is_a_search() -> None:
    assert by_openai(web_search_options={}).native_only == ("web_search_options",)
