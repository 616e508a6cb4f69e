"""Compaction loses nothing: every change can be turned back, and what must not be touched is not."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.wire import anthropic, openai
from gateway.governance import json_compaction, repeats
from gateway.governance.compaction import compact, tell_once
from gateway.governance.fences import split_fences
from gateway.governance.text_slots import rewritten, slots_of
from gateway.models.llm_models import Chat, Message, TextPart
from gateway.models.optimise import METHODS

POSITIONS = [
    {"isin": f"US00{number:04}", "weight": 0.10 + number, "sector": "Utilities", "note": None} for number in range(12)
]
PRETTY = json.dumps(POSITIONS, indent=2)
PARAGRAPH = "The fund holds twelve positions in utilities; each is reported with its weight and its sector. " * 3
MARK = {"type": "ephemeral"}

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
keys = st.sampled_from(["a", "b", "columns", "rows", "c d", "é"])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=4)
        | st.lists(st.fixed_dictionaries({"a": inner, "b": inner}), min_size=2, max_size=5)
    ),
    max_leaves=40,
)


def words(text: str) -> int:
    """A counter that is quick and grows with the text."""
    return len(re.findall(r"\w+|\S|\s+", text))


def chat_of(*texts: str, role: Any = "user") -> Chat:
    return Chat("m", tuple(Message(role, (TextPart(text),)) for text in texts))


def texts_of(chat: Chat) -> list[str]:
    return [message.text() for message in chat.messages]


def same(found: str, value: Any) -> bool:
    """The very same data, in the same order of keys."""
    return found == json.dumps(value, separators=(",", ":"), ensure_ascii=False) or found == json.dumps(
        value, separators=(",", ":")
    )


@settings(max_examples=300, deadline=None)
@given(values.filter(lambda value: isinstance(value, dict | list)), st.sampled_from([None, 1, 4]), st.booleans())
def test_json_turned_back_is_the_same_data(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    made = json_compaction.compacted(text, tables=True)
    assert len(made) <= len(text)
    minified = json_compaction.compacted(text, tables=False)
    assert json.loads(minified) == value
    assert same(minified, value)
    if made != minified:
        assert same(json_compaction.expanded(made), value)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]",:\\ \n\t01.-eEtruefalsn`a', max_size=200))
def test_what_is_no_json_keeps_every_character_but_white_space(text: str) -> None:
    made = json_compaction.compacted(text, tables=False)
    assert re.sub(r"[ \t\r\n]", "", made) == re.sub(r"[ \t\r\n]", "", text)


def test_digits_escapes_and_keys_stay_as_they_are() -> None:
    text = '{\n "b": 1.50e+03,\n "a": 12345678901234567890.10,\n "é": "\\u00e9 \\n {  }"\n}'
    assert json_compaction.compacted(text, tables=True) == (
        '{"b":1.50e+03,"a":12345678901234567890.10,"é":"\\u00e9 \\n {  }"}'
    )
    rows = ",\n".join(f'{{"n": {number}.10, "s": "x  y"}}' for number in range(4))
    table = json_compaction.compacted(f"[\n{rows}\n]", tables=True)
    assert table == '{"columns":["n","s"],"rows":[[0.10,"x  y"],[1.10,"x  y"],[2.10,"x  y"],[3.10,"x  y"]]}'


@pytest.mark.parametrize(
    "text",
    [
        "[ ] buy   milk\n[x] done",
        "[1]  a footnote",
        "[link]( there )",
        '{"a":  NaN}',
        '{"a":  1} and more',
        "[" * 100_000,
        '{"a":' * 5_000,
        '[{"a": 1, "a": 2}'.replace(" ", ""),
        "{" + " " * 1_000,
    ],
)
def test_what_only_looks_like_json_is_left(text: str) -> None:
    assert json_compaction.compacted(text, tables=True) == text


@pytest.mark.parametrize(
    "value",
    [
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2}],
        [{"a": 1}, {"a": 1, "b": 2}, {"a": 3}],
        [{}, {}, {}],
        [{"a": 1}, {"a": 2}],
        {"columns": ["a"], "rows": [[1], [2], [3]], "and": [{"x": {"columns": ["a"], "rows": [[1], [2], [3]]}}] * 3},
    ],
)
def test_objects_that_are_not_alike_are_no_table(value: Any) -> None:
    assert json_compaction.compacted(json.dumps(value, indent=1), tables=True) == json.dumps(
        value, separators=(",", ":")
    )


def test_a_key_twice_and_a_lone_surrogate_are_kept() -> None:
    twice = '[{"a":1,"a":2},{"a":1,"a":2},{"a":1,"a":2}]'
    assert json_compaction.compacted(twice, tables=True) == twice
    lone = '[{"a":"\\ud800"},{"a":"\\ud800"},{"a":"\\ud800"}]'
    assert json_compaction.compacted(lone, tables=True) == lone


paragraphs = st.sampled_from(["one", "two words", PARAGRAPH.strip(), "x" * 80, "```\ncode\n```", "", " ", "[end]"])
conversations = st.lists(st.lists(paragraphs, min_size=1, max_size=8).map("\n\n".join), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(conversations, st.integers(1, 60))
def test_repeats_turned_back_are_the_same_texts(texts: list[str], least: int) -> None:
    made = repeats.told_once(texts, lambda block: len(block) >= least)
    assert repeats.expanded(made) == texts
    assert [piece for text in made for piece in split_fences(text) if piece[1]] == [
        piece for text in texts for piece in split_fences(text) if piece[1]
    ], "fenced code is never part of a block"


def test_a_block_is_told_once_under_the_same_label() -> None:
    first, second = f"Context:\n\n{PARAGRAPH}\n\nWhat is it?", f"Again:\n\n{PARAGRAPH}\n\nAnd now?"
    made = texts_of(tell_once(chat_of(first, second), 20, words))
    label = re.findall(r"\[block (\w{8})\]", made[0])
    assert len(label) == 1
    assert made[1] == f"Again:\n\n[the same as block {label[0]} above]\n\nAnd now?"
    other = texts_of(tell_once(chat_of("Hello\n\n" + first, second), 20, words))
    assert f"[block {label[0]}]" in other[0]
    assert texts_of(tell_once(chat_of(first, second), 10_000, words)) == [first, second]


def test_a_text_that_speaks_of_blocks_is_left() -> None:
    texts = [f"{PARAGRAPH}\n\n[block 0a0a0a0a]", PARAGRAPH]
    assert repeats.told_once(texts, lambda _: True) == texts


def test_long_texts_of_the_same_paragraph_end_soon() -> None:
    """Without a bound the search would compare every paragraph with every other."""
    text = "a\n\n" * 30_000 + "b\n\n" + "a\n\n" * 30_000
    made = repeats.told_once([text, text], lambda block: len(block) >= 64)
    assert repeats.expanded(made) == [text, text]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=" \t\nab`~>", max_size=120))
def test_white_space_is_all_that_goes_and_never_in_code(text: str) -> None:
    (made,) = texts_of(compact(chat_of(text), ["whitespace"], len)[0])
    assert made.split() == text.split()
    assert "".join(piece for piece, code in split_fences(text)) == text
    kept = [piece for piece, code in split_fences(text) if code]
    assert all(piece in made for piece in kept)
    indents = [line[: len(line) - len(line.lstrip())] for line in text.split("\n") if line.strip()]
    assert indents == [line[: len(line) - len(line.lstrip())] for line in made.split("\n") if line.strip()]


def test_white_space_within_a_line_stays() -> None:
    text = "name    weight   \n\n\n\nA          3\r\n\r\n\r\n\r\nB   "
    (made,) = texts_of(compact(chat_of(text), ["whitespace"], len)[0])
    assert made == "name    weight\n\nA          3\r\n\r\nB   "


def test_code_is_left_in_every_way() -> None:
    code = f"```json\n{PRETTY}   \n\n\n\n```"
    text = f"Look:\n{code}\n{PRETTY}\n"
    (made,) = texts_of(compact(chat_of(text), METHODS, words)[0])
    assert code in made
    assert made.endswith('"Utilities",null]]}\n')


def test_what_saves_nothing_is_not_changed() -> None:
    chat = chat_of("Hello", '{"a": 1}')
    made, methods = compact(chat, METHODS, lambda text: 1)
    assert made == chat
    assert methods == ()


def test_a_system_turn_keeps_its_lists_and_an_answer_everything() -> None:
    system, _ = compact(chat_of(PRETTY, role="system"), METHODS, words)
    assert texts_of(system) == [json.dumps(POSITIONS, separators=(",", ":"))]
    answer, methods = compact(chat_of(PRETTY, role="assistant"), METHODS, words)
    assert texts_of(answer) == [PRETTY]
    assert methods == ()


def anthropic_body(**fields: Any) -> dict[str, Any]:
    block = {"type": "text", "text": PRETTY}
    return {
        "model": "claude",
        "max_tokens": 5,
        "system": PRETTY,
        "messages": [
            {"role": "user", "content": [block, {"type": "image", "source": {"type": "url", "url": "https://x/y"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": POSITIONS}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [block]}]},
        ],
        **fields,
    }


def test_the_callers_own_body_is_changed_alike() -> None:
    body = anthropic_body(top_k=3)
    chat = anthropic.decode(body).chat
    made, methods = compact(chat, METHODS, words)
    assert set(methods) == {"json", "tables"}
    assert made.native is not None
    again = anthropic.decode(made.native).chat
    assert again == made, "what the body says now is what the chat says"
    assert made.native["messages"][1] == body["messages"][1], "arguments of tools stay"
    assert made.native["messages"][0]["content"][1] == body["messages"][0]["content"][1]
    assert made.native["top_k"] == 3
    assert body == anthropic_body(top_k=3), "what was given is left as it was"


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (anthropic_body(system=[{"type": "text", "text": PRETTY, "cache_control": MARK}]), {1, 3}),
        (anthropic_body(cache_control=MARK), set()),
        (
            anthropic_body(
                messages=[
                    {"role": "user", "content": PRETTY},
                    {"role": "user", "content": [{"type": "text", "text": PRETTY, "cache_control": MARK}]},
                    {"role": "user", "content": PRETTY},
                ]
            ),
            {3},
        ),
        (
            anthropic_body(
                messages=[
                    {
                        "role": "user",
                        "content": [
                            {"type": "redacted_thinking", "data": "x"},
                            {"type": "text", "text": PRETTY},
                        ],
                    }
                ]
            ),
            {0},
        ),
    ],
    ids=["system marked", "all marked", "up to a mark", "signed"],
)
def test_what_is_marked_or_signed_stays(body: dict[str, Any], changed: set[int]) -> None:
    chat = anthropic.decode(body).chat
    made, _ = compact(chat, METHODS, words)
    assert {at for at, turn in enumerate(made.messages) if turn != chat.messages[at]} == changed
    assert made.native is not None
    assert anthropic.decode(made.native).chat == made


def test_texts_that_stand_not_alone_in_the_body_are_left() -> None:
    """A tool's answer in several parts is one text here, and none that could be put back."""
    parts = [{"type": "text", "text": PRETTY}, {"type": "text", "text": PRETTY}]
    body = {"model": "m", "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "1", "content": parts},
        {"role": "user", "content": parts},
    ]}  # fmt: skip
    chat = openai.decode(body).chat
    assert [(slot.message, slot.part) for slot in slots_of(chat)] == [(0, 0), (3, 0), (3, 1)]
    made = rewritten(chat, {slot: f"new {at}" for at, slot in enumerate(slots_of(chat))})
    assert made.native is not None
    assert made.native["messages"][3]["content"] == [
        {"type": "text", "text": "new 1"},
        {"type": "text", "text": "new 2"},
    ]
    assert openai.decode(made.native).chat == made


def test_a_body_that_cannot_be_followed_has_no_texts() -> None:
    chat = openai.decode({"model": "m", "messages": [{"role": "user", "content": PRETTY}]}).chat
    odd = msgspec.structs.replace(chat, messages=(*chat.messages, *chat.messages))
    assert slots_of(odd) == []
    assert compact(odd, METHODS, words) == (odd, ())
