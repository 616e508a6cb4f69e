"""Trimming: within the budget or refused, the newest and the pinned stay, calls keep their results."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.wire import anthropic, openai
from gateway.errors import ValidationFailed
from gateway.governance.token_rules import count_chat
from gateway.governance.trimming import trimmed
from gateway.models.llm_models import Chat, Message, TextPart, ThinkingPart, ToolResultPart, ToolUsePart
from gateway.models.optimise import Trim
from gateway.models.tokens import TokenRule

RULE = TokenRule("any", True, 10)


def count(text: str) -> int:
    return len(text.split())


def said(role: Any, text: str) -> Message:
    return Message(role, (TextPart(text),))


def called(name: str) -> Message:
    return Message("assistant", (ToolUsePart(name, "look", "{}"),))


def given_back(name: str, text: str, role: Any = "tool") -> Message:
    return Message(role, (ToolResultPart(name, text),))


def chat(*messages: Message) -> Chat:
    return Chat("m", messages)


LONG = "word " * 50
TALK = chat(
    said("system", "Be brief."),
    said("user", f"first {LONG}"),
    said("assistant", f"one {LONG}"),
    said("user", f"second {LONG}"),
    called("a"),
    given_back("a", LONG),
    said("assistant", f"two {LONG}"),
    said("user", "third"),
)


def kept(found: Chat) -> list[int]:
    return [TALK.messages.index(message) for message in found.messages]


@pytest.mark.parametrize(
    ("trim", "left"),
    [
        (Trim(1_000), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Trim(250), [0, 3, 4, 5, 6, 7]),
        (Trim(20), [0, 7]),
        (Trim(150, keep_first=1), [0, 1, 2, 7]),
        (Trim(150, pinned=(1,)), [0, 1, 2, 7]),
        (Trim(250, pinned=(-2,)), [0, 3, 4, 5, 6, 7]),
        (Trim(250, keep_last=2), [0, 3, 4, 5, 6, 7]),
        (Trim(150, pinned=(0, 99, -99)), [0, 1, 2, 7]),
    ],
)
def test_older_exchanges_go_first(trim: Trim, left: list[int]) -> None:
    made, dropped = trimmed(TALK, trim, RULE, count)
    assert kept(made) == left
    assert dropped == len(TALK.messages) - len(left)
    assert count_chat(made, RULE, count)[0] <= trim.max_input_tokens


@pytest.mark.parametrize("trim", [Trim(5), Trim(100, keep_last=2), Trim(100, keep_first=1), Trim(150, pinned=(0, 3))])
def test_what_cannot_fit_is_refused_with_both_numbers(trim: Trim) -> None:
    with pytest.raises(ValidationFailed) as caught:
        trimmed(TALK, trim, RULE, count)
    assert caught.value.param == "messages"
    assert caught.value.details["max_input_tokens"] == trim.max_input_tokens
    assert caught.value.details["tokens"] > trim.max_input_tokens


def test_of_a_long_run_of_tools_the_last_round_stays() -> None:
    rounds = [message for name in "abcd" for message in (called(name), given_back(name, f"{name} {LONG}", "user"))]
    talk = chat(said("user", "go"), *rounds)
    made, dropped = trimmed(talk, Trim(100), RULE, count)
    assert made.messages == (talk.messages[0], *rounds[-2:])
    assert dropped == 6
    thought = Message("assistant", (ThinkingPart("hm", "s"), *rounds[0].parts))
    with pytest.raises(ValidationFailed):
        trimmed(chat(said("user", "go"), thought, *rounds[1:]), Trim(100), RULE, count)


turns = st.lists(st.sampled_from(["user", "assistant", "tools", "system"]), min_size=1, max_size=14)


@settings(max_examples=300, deadline=None)
@given(turns, st.integers(1, 400), st.integers(0, 2), st.integers(1, 3), st.lists(st.integers(-4, 9), max_size=2))
def test_whatever_the_talk(kinds: list[str], most: int, first: int, last: int, pins: list[int]) -> None:
    messages: list[Message] = []
    for number, kind in enumerate(kinds):
        if kind == "tools":
            names = (f"{number}a", f"{number}b")
            messages.append(Message("assistant", tuple(ToolUsePart(name, "look", "{}") for name in names)))
            messages += [given_back(name, f"{name} {LONG}") for name in names]
        else:
            messages.append(said(kind, f"{number} {LONG}"))
    trim = Trim(most, first, last, tuple(pins))
    talk = chat(*messages)
    try:
        made, dropped = trimmed(talk, trim, RULE, count)
    except ValidationFailed:
        return
    assert count_chat(made, RULE, count)[0] <= most
    assert len(made.messages) + dropped == len(messages)
    assert [message for message in messages if message in made.messages] == list(made.messages)
    parts = [part for message in made.messages for part in message.parts]
    calls = [part.id for part in parts if isinstance(part, ToolUsePart)]
    assert calls == [part.id for part in parts if isinstance(part, ToolResultPart)]
    others = [message for message in messages if message.role != "system"]
    must = [message for message in messages if message.role == "system"]
    must += [message for message in messages if message.role == "user"][-1:]
    must += [others[pin] for pin in pins if -len(others) <= pin < len(others)]
    assert all(message in made.messages for message in must)
    if not dropped:
        assert made is talk


def test_the_callers_body_loses_the_same_turns() -> None:
    words = {"role": "user", "content": LONG}
    asked = {"model": "m", "max_tokens": 3, "system": "Be brief.", "top_k": 2, "messages": [
        words, {"role": "assistant", "content": LONG}, {"role": "user", "content": "now"},
    ]}  # fmt: skip
    made, dropped = trimmed(anthropic.decode(asked).chat, Trim(30), RULE, count)
    assert dropped == 2
    assert made.native == {**asked, "messages": [{"role": "user", "content": "now"}]}
    assert anthropic.decode(made.native).chat == made
    body = {"model": "m", "seed": 4, "messages": [words, {"role": "user", "name": "eve", "content": "now"}]}
    made, _ = trimmed(openai.decode(body).chat, Trim(30), RULE, count)
    assert made.native == {**body, "messages": body["messages"][1:]}  # type: ignore[index]


def test_documents_do_not_count_for_nobody_knows_how_much() -> None:
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 9_000}}
    body = {
        "model": "m",
        "max_tokens": 3,
        "messages": [
            {"role": "user", "content": LONG},
            {"role": "user", "content": [document, {"type": "text", "text": "now"}]},
        ],
    }
    made, dropped = trimmed(anthropic.decode(body).chat, Trim(30), RULE, count)
    assert dropped == 1
    assert made.native is not None
    assert made.native["messages"] == body["messages"][1:]  # type: ignore[index]


def test_what_will_still_be_saved_counts() -> None:
    """Where every turn will be told shorter, fewer have to go."""

    def shorter(given: Chat) -> Chat:
        return chat(*(said(message.role, message.text()[:9]) for message in given.messages))

    assert trimmed(TALK, Trim(50), RULE, count, shorter) == (TALK, 0)
    made, _ = trimmed(TALK, Trim(40), RULE, count, shorter)
    assert kept(made) == [0, 3, 4, 5, 6, 7]
