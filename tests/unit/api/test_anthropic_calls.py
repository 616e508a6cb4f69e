"""Tool calls whose pieces come in turns are blocks one after another at Anthropic's door."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest

from gateway.api.wire.anthropic import EventEncoder
from gateway.models.llm_models import Delta, Usage

A, B, C = '{"x":1}', '{"y":{}}', "{}"


def begin(at: int) -> Delta:
    return Delta(tool_index=at, tool_id=f"t{at}", tool_name=f"f{at}")


def say(at: int, text: str) -> Delta:
    return Delta(tool_index=at, arguments=text)


def told(*deltas: Delta) -> list[dict[str, Any]]:
    encoder = EventEncoder("m", "msg")
    return [event for delta in deltas for event in encoder.encode(delta)] + encoder.end(Usage())


DONE = Delta(finish="tool_use")


@pytest.mark.parametrize(
    "deltas",
    [
        [begin(0), say(0, A), begin(1), say(1, B[:4]), say(1, B[4:]), begin(2), say(2, C), DONE],
        [begin(0), begin(1), begin(2), say(1, B), say(0, A[:3]), say(2, C), say(0, A[3:]), DONE],
        [begin(0), begin(1), say(0, A[:3]), say(1, B[:4]), say(0, A[3:]), begin(2), say(1, B[4:]), say(2, C), DONE],
        [begin(0), begin(1), say(1, B), say(0, A + " "), begin(2), say(0, "\n"), say(2, C)],
        [
            begin(0),
            say(0, A),
            begin(1),
            say(1, B),
            Delta(text=""),
            begin(2),
            Delta(tool_index=2, arguments=C, finish="stop"),
        ],
    ],
)
def test_one_block_after_another(deltas: list[Delta]) -> None:
    events = told(Delta(text="I look."), *deltas)
    indices = [event["index"] for event in events if "index" in event]
    assert [at for at, _ in groupby(indices)] == [0, 1, 2, 3]
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [(block["id"], block["name"]) for block in blocks[1:]] == [("t0", "f0"), ("t1", "f1"), ("t2", "f2")]
    for at, said in enumerate((A, B, C), 1):
        pieces = [event["delta"] for event in events if event["type"] == "content_block_delta" and event["index"] == at]
        assert "".join(piece["partial_json"] for piece in pieces).strip() == said
    assert [event["index"] for event in events if event["type"] == "content_block_stop"] == [0, 1, 2, 3]


def test_pieces_of_the_first_call_go_on_at_once_and_those_of_the_next_once_it_is_whole() -> None:
    encoder = EventEncoder("m", "msg")
    encoder.encode(begin(0))
    assert [event["type"] for event in encoder.encode(say(0, A[:3]))] == ["content_block_delta"]
    assert encoder.encode(begin(1)) == []
    encoder.encode(say(0, A[3:]))
    kinds = [event["type"] for event in encoder.encode(say(1, B[:3]))]
    assert kinds == ["content_block_stop", "content_block_start", "content_block_delta"]
    assert [event["type"] for event in encoder.encode(say(1, B[3:]))] == ["content_block_delta"]


def test_text_after_calls_is_a_block_behind_them() -> None:
    events = told(begin(0), begin(1), say(1, B), say(0, A), Delta(text="Done."), Delta(finish="stop"))
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert blocks == ["tool_use", "tool_use", "text"]
    assert [event["index"] for event in events if event["type"] == "content_block_stop"] == [0, 1, 2]
