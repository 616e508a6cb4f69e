"""Whole answers that go on as they came: the same JSON but for the model's name; anything odd is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.wire.openai import encode_relayed, encode_reply
from gateway.models.llm_models import Chat, Usage
from gateway.providers.http_models import OpenAIWire
from gateway.providers.openai_whole import relayed
from gateway.providers.openai_wire import decode_reply

WIRE = OpenAIWire("up-1", official=False)


def answered(**changes: Any) -> dict[str, Any]:
    """A provider's answer; a field that is ``...`` is left out."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "up-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def said(message: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "message": message, "finish_reason": "stop"}]


def dumped(body: dict[str, Any], *, spaced: bool = False) -> bytes:
    return json.dumps(body, separators=None if spaced else (",", ":"), ensure_ascii=False).encode()


#: Answers that are read in the ordinary way.
ODD = [
    answered(usage=...),
    answered(usage=None),
    answered(usage={"prompt_tokens": 3.0, "completion_tokens": 2}),
    answered(id=...),
    answered(id=""),
    answered(created=...),
    answered(object=...),
    answered(choices=[]),
    answered(choices=said({"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {}}]})),
    answered(choices=said({"role": "assistant", "content": [{"type": "text", "text": "x"}]})),
    answered(choices=said({"role": "assistant", "content": "Hi"}), note={"model": "up-1"}),
    answered(error={"message": "no"}),
    answered(model=None),
]


@pytest.mark.parametrize("body", ODD)
def test_an_odd_answer_is_not_relayed(body: dict[str, Any]) -> None:
    assert relayed(dumped(body), "asked") is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b'{"id":"\xff"}', dumped(answered())[:-1]])
def test_what_is_no_answer_is_not_relayed(content: bytes) -> None:
    assert relayed(content, "asked") is None


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(['"model":"up-1"', '"model"']),
    spaced=st.booleans(),
    asked=st.sampled_from(["asked", "up-1", 'a"b', "é"]),
    more=st.sampled_from([{}, {"system_fingerprint": "fp"}, {"service_tier": None, "logprobs": {"é": [1, None]}}]),
)
def test_what_is_relayed_is_what_would_have_been_written(
    text: str, spaced: bool, asked: str, more: dict[str, Any]
) -> None:
    content = dumped(answered(choices=said({"role": "assistant", "content": text}), **more), spaced=spaced)
    chat = Chat(asked, (), dialect="openai", relay=True)
    reply, ordinary = WIRE.decode_reply(content, chat), decode_reply(content)
    assert reply.native is not None
    assert reply.native.lines, "nothing here is odd"
    told = encode_relayed(reply, asked)
    assert isinstance(told, bytes)
    assert json.loads(told) == encode_reply(ordinary, asked)
    assert (reply.usage, reply.model, reply.created) == (ordinary.usage, "up-1", 7)


def test_usage_of_every_class_is_read() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    content = dumped(answered(usage=usage))
    reply = relayed(content, "asked")
    assert reply is not None
    assert reply.usage == Usage(9, 8, 4, 0, 5, "provider") == decode_reply(content).usage


def test_only_who_asks_for_it_is_given_bytes() -> None:
    for chat in (Chat("asked", ()), Chat("asked", (), relay=True), Chat("asked", (), dialect="openai")):
        reply = WIRE.decode_reply(dumped(answered()), chat)
        assert reply.text() == "Hi"
