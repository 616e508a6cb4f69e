"""What guards do to an answer in pieces is what they do to the whole, in the neutral form and in a native one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GuardBlocked
from gateway.governance.guard_chain import Chain
from gateway.models.guard import Asked, Finding, GuardSpec
from gateway.models.llm_models import (
    Chat,
    Choice,
    Delta,
    Message,
    Native,
    Reply,
    TextPart,
    ThinkingPart,
    ToolUsePart,
    Usage,
)  # fmt: skip
from gateway.serving.delta_flow import deltas_of
from gateway.serving.guarding import Guarded

CHAT = Chat("m", (Message("user", (TextPart('To a@b.example and c@d.example, "Q" too.'),)),))
PII = GuardSpec("pii", "pii", "redact", ("input", "output"), {"terms": ['"Q"']})
BITS = [
    "[EMAIL_1]",
    "[EMAIL_2]",
    "[TERM_1]",
    "[EMAIL_3]",
    "[",
    "[EM",
    "]",
    " ",
    "x",
    "new@mail.example",
    "4111111111111111",
]
BODY = st.lists(st.sampled_from(BITS), max_size=7).map("".join)


def guarded(*specs: GuardSpec) -> Guarded:
    chain = Chain(specs)
    _, vault = chain.read_chat(CHAT, [])
    return Guarded(chain, vault, [])


async def _stream(pieces: Iterable[Delta]) -> AsyncIterator[Delta]:
    for piece in pieces:
        yield piece


def through(guard: Guarded, pieces: Iterable[Delta]) -> list[Delta]:
    """The pieces after the guards and the restoration, as ``serving.chat`` puts them together."""

    async def run() -> list[Delta]:
        source = _stream(pieces)
        if guard.checks_pieces:
            source = guard.checked_pieces(source)
        if guard.restore is not None:
            source = guard.restore(source)
        return [piece async for piece in source]

    return asyncio.run(run())


def cut(data: st.DataObject, text: str) -> list[str]:
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]


def joined(pieces: Iterable[Delta]) -> dict[Any, str]:
    """Every text of a stream, by choice and kind."""
    told: dict[Any, str] = {}
    for piece in pieces:
        for key, text in (
            ((piece.choice, "text"), piece.text),
            ((piece.choice, "thinking"), piece.thinking),
            ((piece.choice, piece.tool_index), piece.arguments),
        ):
            told[key] = told.get(key, "") + text
    return {key: text for key, text in told.items() if text}


def answers(text: str, thinking: str, arguments: str) -> Reply:
    parts = (
        ThinkingPart(thinking, "c2ln"),
        TextPart(text),
        ToolUsePart("c1", "f", arguments),
        ToolUsePart("c2", "f", text),
    )
    return Reply("r", "m", (Choice(parts, "stop"), Choice((TextPart(text),), "length")), Usage())


@settings(max_examples=200, deadline=None)
@given(BODY, BODY, BODY, st.data())
def test_pieces_give_what_the_whole_gives(text: str, thinking: str, arguments: str, data: st.DataObject) -> None:
    reply = answers(text, thinking, arguments)
    guard = guarded(PII)
    checked, refusal = guard.checked(CHAT, reply)
    assert refusal is None
    whole = joined(deltas_of(guard.restored(checked)))
    pieces: list[Delta] = []
    for piece in deltas_of(reply):
        if piece.thinking:
            pieces += [Delta(thinking=part) for part in cut(data, piece.thinking)] + [Delta(signature=piece.signature)]
        elif piece.tool_index is not None:
            first = Delta(tool_index=piece.tool_index, tool_id=piece.tool_id, tool_name=piece.tool_name)
            rest = [Delta(tool_index=piece.tool_index, arguments=part) for part in cut(data, piece.arguments)]
            pieces += [first, *rest]
        elif piece.text:
            pieces += [Delta(choice=piece.choice, text=part) for part in cut(data, piece.text)]
        else:
            pieces.append(piece)
    told = through(guarded(PII), pieces)
    assert joined(told) == whole
    assert "new@mail" not in str(told)
    ends = [at for at, piece in enumerate(told) if piece.finish is not None and piece.choice == 0]
    assert not any(piece.text or piece.arguments for piece in told[ends[0] + 1 :] if piece.choice == 0)


@settings(max_examples=200, deadline=None)
@given(BODY, BODY, st.data())
def test_native_events_are_restored_where_they_stand(text: str, arguments: str, data: st.DataObject) -> None:
    """OpenAI's chunks and Anthropic's events: whatever the cuts, a reader of the events gets the whole."""
    guard = guarded(GuardSpec("pii", "pii", "redact", ("input",), PII.options))
    reply = guard.restored(answers(text, "", arguments))
    want = (reply.choices[0].parts[1], reply.choices[0].parts[2])
    assert isinstance(want[0], TextPart)
    assert isinstance(want[1], ToolUsePart)

    def openai(delta: dict[str, Any], finish: str | None = None) -> Delta:
        event = {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        return Delta(native=Native("openai", event), text=delta.get("content") or "")

    pieces = [openai({"content": part}) for part in cut(data, text)]
    for part in cut(data, arguments):
        pieces.append(openai({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}))
    pieces.append(openai({}, "stop"))
    told = [piece.native.event for piece in through(guard, pieces) if piece.native is not None and piece.native.event]
    deltas = [event["choices"][0]["delta"] for event in told]
    assert "".join(delta.get("content") or "" for delta in deltas) == want[0].text
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(call["function"]["arguments"] for call in calls) == want[1].arguments
    assert [event["choices"][0]["finish_reason"] for event in told][-1] == "stop"

    def anthropic(index: int, delta: dict[str, Any] | None) -> Delta:
        if delta is None:
            return Delta(native=Native("anthropic", {"type": "content_block_stop", "index": index}))
        event = {"type": "content_block_delta", "index": index, "delta": delta}
        return Delta(native=Native("anthropic", event), text=delta.get("text", ""))

    pieces = [anthropic(0, {"type": "text_delta", "text": part}) for part in cut(data, text)]
    pieces.append(anthropic(0, None))
    pieces += [anthropic(1, {"type": "input_json_delta", "partial_json": part}) for part in cut(data, arguments)]
    pieces.append(anthropic(1, None))
    told = [piece.native.event for piece in through(guard, pieces) if piece.native is not None and piece.native.event]
    said: dict[int, str] = {0: "", 1: ""}
    stopped: set[int] = set()
    for event in told:
        if event["type"] == "content_block_stop":
            stopped.add(event["index"])
            continue
        assert event["index"] not in stopped
        said[event["index"]] += event["delta"].get("text", "") + event["delta"].get("partial_json", "")
    assert said == {0: want[0].text, 1: want[1].arguments}
    assert stopped == {0, 1}


def test_arguments_stay_json_whatever_is_put_back() -> None:
    guard = guarded(GuardSpec("pii", "pii", "redact", ("input",), PII.options))
    told = joined(through(guard, [Delta(tool_index=0, tool_id="c", tool_name="f", arguments='{"a": "[TE'),
                                  Delta(tool_index=0, arguments='RM_1]"}'), Delta(finish="tool_use")]))  # fmt: skip
    assert json.loads(told[0, 0]) == {"a": '"Q"'}


class Loud:
    """A guard of somebody else: it finds every capital letter."""

    def look(self, asked: Asked) -> list[Finding]:
        return [
            Finding("capital", at, place, place + 1)
            for at, item in enumerate(asked.texts)
            for place, character in enumerate(item.text)
            if character.isupper()
        ]


class Broken:
    def look(self, asked: Asked) -> list[Finding]:
        raise KeyError(asked.texts[0].text)


def custom(monkeypatch: pytest.MonkeyPatch, guard: type, action: Any, stage: Any) -> Chain:
    monkeypatch.setattr("gateway.governance.guard_chain.load_guard", lambda name, options: guard())
    return Chain([GuardSpec("custom", "loud", action, (stage,), {"name": "loud"})])


def test_a_guard_of_somebody_else_redacts_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = custom(monkeypatch, Loud, "redact", "input")
    verdicts: list[Any] = []
    chat, vault = chain.read_chat(CHAT, verdicts)
    assert chat.messages[0].text() == '[CAPITAL_1]o a@b.example and c@d.example, "[CAPITAL_2]" too.'
    assert vault.values() == {"[CAPITAL_1]": "T", "[CAPITAL_2]": "Q"}
    assert (verdicts[0]["guard"], verdicts[0]["count"]) == ("loud", 2)
    with pytest.raises(GuardBlocked, match="capital in messages"):
        custom(monkeypatch, Loud, "block", "input").read_chat(CHAT, verdicts)
    whole = Guarded(custom(monkeypatch, Loud, "flag", "output"), vault, verdicts)
    assert whole.answered_whole(CHAT)


def test_a_guard_that_fails_lets_nothing_pass_and_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuardBlocked, match="KeyError") as asked:
        custom(monkeypatch, Broken, "flag", "input").read_chat(CHAT, [])
    with pytest.raises(GuardBlocked, match="KeyError") as answered:
        custom(monkeypatch, Broken, "flag", "output").read_reply(answers("a@b.example", "b", "c"), [])
    assert "example" not in asked.value.message + answered.value.message


def test_a_stream_that_is_left_is_hung_up() -> None:
    guard, closed = guarded(PII), []

    async def source() -> AsyncIterator[Delta]:
        try:
            for _ in range(100):
                yield Delta(text="word ")
        finally:
            closed.append(True)

    async def leave() -> None:
        assert guard.restore is not None
        pieces = guard.restore(guard.checked_pieces(source()))
        async for _ in pieces:
            break
        await pieces.aclose()  # type: ignore[attr-defined]
        assert closed == [True]

    asyncio.run(leave())
