"""Plain requests are read in one go, and as the ordinary way reads them; all others are left to it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.wire import openai
from gateway.api.wire.openai_plain import read_plain
from gateway.errors import GatewayError
from gateway.governance.validators import decode_object
from gateway.models.llm_models import Body
from gateway.providers import openai_wire

TURN = {"role": "user", "content": 'He said "no"; \n\u2013 ja \\'}
ASKED: dict[str, Any] = {"model": "m", "messages": [TURN], "max_tokens": 64, "temperature": 0.2}

_texts = st.text(alphabet='ab":\\\n{}\u00e9 ', max_size=12)
_turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "developer", "tool"]), "content": _texts}
)
_bodies = st.fixed_dictionaries(
    {"model": _texts, "messages": st.lists(_turns, max_size=3)},
    optional={
        "max_tokens": st.sampled_from([None, 0, 1, 64, 10**7, 10**8, 1.5, True]),
        "temperature": st.sampled_from([None, -1, 0, 1, 0.3, 2, 2.1, "1"]),
        "top_p": st.sampled_from([None, 0, 0.5, 1, 2]),
        "stream": st.sampled_from([None, True, False, 1]),
        "stream_options": st.sampled_from([None, {}, {"include_usage": True}, {"include_usage": False}, {"x": 1}]),
        "n": st.sampled_from([1, 2]),
        "unheard": st.just(1),
    },
)


@given(_bodies, st.sampled_from([(",", ":"), (", ", ": "), (",", " : ")]), st.booleans())
def test_what_is_read_in_one_go_is_what_the_ordinary_way_reads(
    body: dict[str, Any], between: tuple[str, str], spelt: bool
) -> None:
    raw = json.dumps(body, separators=between, ensure_ascii=spelt).encode()
    found = read_plain(raw, {})
    if found is not None:
        assert found == openai.decode(decode_object(raw), relay=True)


def test_most_requests_are_plain() -> None:
    for more in ({}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, {"top_p": 1}):
        assert read_plain(json.dumps(ASKED | more).encode(), {}) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}',
        b'{"model" :"a","model":"b","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"a","mod\\u0065l":"b","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"x","content":"y"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"\\u0000"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"a","messages":[{"role":"user","content":"x"}]} x',
        b"",
        b"[]",
    ],
)
def test_what_the_ordinary_way_refuses_is_left_to_it(raw: bytes) -> None:
    assert read_plain(raw, {}) is None
    with pytest.raises(GatewayError):
        openai.decode(decode_object(raw), relay=True)


def read(**more: Any) -> tuple[bytes, Any]:
    raw = json.dumps(ASKED | more).encode()
    request = read_plain(raw, {})
    assert request is not None
    return raw, request.chat


def test_a_body_goes_on_as_it_came() -> None:
    raw, chat = read()
    assert openai_wire.encode(chat, "m", stream=False) == (raw, ())
    raw, chat = read(stream=True, stream_options={"include_usage": True})
    assert openai_wire.encode(chat, "m", stream=True) == (raw, ())


def test_only_the_models_name_becomes_the_providers() -> None:
    raw, chat = read()
    sent, _ = openai_wire.encode(chat, "gpt-4", stream=False)
    assert sent == raw.replace(b'"model": "m"', b'"model": "gpt-4"') or json.loads(sent) == {**ASKED, "model": "gpt-4"}


@pytest.mark.parametrize(
    ("changes", "stream", "model"),
    [
        ({"max_tokens": 32}, False, "m"),
        ({"seed": 7}, False, "m"),
        ({"top_p": 0.5}, False, "m"),
        ({}, True, "m"),
        ({}, False, "o3"),
    ],
)
def test_a_body_that_something_is_put_into_is_written_anew(changes: dict[str, Any], stream: bool, model: str) -> None:
    raw, chat = read()
    changed = msgspec.structs.replace(chat, **changes)
    sent, _ = openai_wire.encode(changed, model, stream=stream)
    plain = msgspec.structs.replace(changed, native=dict(chat.native))
    assert sent == openai_wire.encode(plain, model, stream=stream)[0]
    assert sent != raw


def test_a_changed_body_has_no_bytes_of_its_own() -> None:
    _, chat = read()
    assert type(chat.native) is Body
    assert type({**chat.native}) is dict
