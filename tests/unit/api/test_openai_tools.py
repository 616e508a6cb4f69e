"""What OpenAI's dialect has beside functions, and what other servers have beside OpenAI: carried there, refused
elsewhere, by name and before any call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.api.wire import openai
from gateway.errors import NotSupported, ValidationFailed
from gateway.governance.policy import has_media, input_tokens_bound
from gateway.models.llm_models import Reply, ToolUsePart
from gateway.models.server_fields import SERVER_FIELDS
from gateway.providers.http_models import AnthropicWire, BedrockWire, GeminiWire, OpenAIWire, Wire
from gateway.providers.openai_wire import decode_reply

BASE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
CUSTOM = {"type": "custom", "custom": {"name": "sql", "description": "D", "format": {"type": "text"}}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "f"}]}}
CALLED = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "42"},
]
CALLED_CUSTOM = [
    {"role": "user", "content": "Hello"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1"},
]
OTHERS: list[Wire] = [AnthropicWire("up", 9), BedrockWire(), GeminiWire()]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"tools": [CUSTOM, FUNCTION]}, "tools.custom"),
        ({"tools": [CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "sql"}}}, "tools.custom"),
        ({"tools": [FUNCTION], "tool_choice": ALLOWED}, "tool_choice.allowed_tools"),
        ({"messages": CALLED}, "messages.function_call"),
        ({"messages": CALLED_CUSTOM}, "tools.custom"),
    ],
)
def test_what_only_openai_has(asked: dict[str, Any], name: str) -> None:
    chat = openai.decode({**BASE, **asked}).chat
    for official in (True, False):
        body, named = OpenAIWire("up", official=official).encode(chat, stream=False)
        assert (json.loads(body), named) == ({**BASE, **asked, "model": "up"}, ())
    for wire in OTHERS:
        with pytest.raises(NotSupported, match=name) as refused:
            wire.encode(chat, stream=False)
        assert refused.value.param is not None


@pytest.mark.parametrize("name", sorted(SERVER_FIELDS))
def test_what_other_servers_have(name: str) -> None:
    asked = {**BASE, name: {"a": 1}}
    chat = openai.decode(asked).chat
    body, named = OpenAIWire("up", official=False).encode(chat, stream=False)
    assert (json.loads(body), named) == ({**asked, "model": "up"}, ())
    for wire in (OpenAIWire("up", official=True), *OTHERS):
        with pytest.raises(NotSupported) as refused:
            wire.encode(chat, stream=False)
        assert refused.value.param == name
    plain = openai.decode(BASE).chat
    assert (has_media(chat), input_tokens_bound(chat)) == (False, input_tokens_bound(plain)), "it costs nothing more"
    assert openai.decode({**BASE, name: None}).chat.native_only == ()


@pytest.mark.parametrize("name", ["models", "route", "provider", "best_of", "temprature"])
def test_who_answers_and_what_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        openai.decode({**BASE, name: 2})
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": [{"type": "custom"}]}, "tools[0]"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": []}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {}}, "tool_choice"),
        ({"messages": [{"role": "assistant", "function_call": "f"}]}, "messages[0].function_call"),
        ({"messages": [{"role": "function", "content": "42"}]}, "messages[0].name"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}]},
            "messages[0].tool_calls",
        ),
    ],
)
def test_a_wrong_one_is_named(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        openai.decode({**BASE, **asked})
    assert refused.value.param == param


def test_an_answer_that_calls_such_a_tool_goes_on_whole() -> None:
    call = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    raw = {"id": "r", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    reply: Reply = decode_reply(json.dumps(raw).encode())
    assert reply.choices[0].parts == (ToolUsePart("c", "sql", "select 1"),)
    assert openai.encode_reply(reply, "m")["choices"][0]["message"] == message
