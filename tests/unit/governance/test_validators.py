"""Bodies as they come: strict, and refused with the place."""

from __future__ import annotations

import contextlib
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, GatewayError, ValidationFailed
from gateway.governance.policy import check_chat, input_tokens_bound, output_tokens_bound
from gateway.governance.redaction import redact
from gateway.governance.validators import (
    check_llm_parameters,
    decode_json,
    decode_object,
    refuse_unknown,
    text_field,
    whole_field,
)
from gateway.models.llm_models import Chat, Message, TextPart

NASTY = [
    b"", b"  ", b"{", b"[1,]", b"nul", b"{'a':1}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}', b'{"a":"\\ud800"}',
    b'{"a":"\x00"}', b'{"a":"\\u0000"}', b'{"\\u0000":1}', b'{"a":' + b"9" * 5000 + b"}", b'{"a":1,"a":2}',
    b'{"a" :1,"a":2}', b'{"a":"\\":","a" :2,"a":3}', b'{"a":[[{"x":1,"x":1}]]}', b'{"a":"\x01"}',
    b'{"b":{"a":1,"a":1}}', b"[" * 101 + b"]" * 101, b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200, b"\xff\xfe{}",
    b'"\xc3\x28"', b'{"a":9223372036854775808}', b'{"a":[-9223372036854775809]}', b'{"a":1} {"b":2}',
]  # fmt: skip


@pytest.mark.parametrize("body", NASTY)
def test_what_two_readers_might_take_differently_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_json(body)
    assert len(caught.value.message) < 300
    assert caught.value.mend


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
        max_leaves=20,
    )
)
def test_what_json_can_say_comes_through(value: object) -> None:
    import msgspec  # noqa: PLC0415

    body = msgspec.json.encode(value)
    if b"\\u0000" in body:
        return
    assert decode_json(body) == value


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        decode_json(body)


def test_an_object_is_asked_for() -> None:
    assert decode_object(b'{"a":1}') == {"a": 1}
    with pytest.raises(ValidationFailed, match="object"):
        decode_object(b"[1]")


def test_fields() -> None:
    with pytest.raises(ValidationFailed) as caught:
        refuse_unknown({"modle": 1}, ("model",), "model_config")
    assert caught.value.param == "model_config.modle"
    assert "model" in (caught.value.mend or "")
    assert text_field({}, "a") == ""
    for raw in ({}, {"a": ""}, {"a": 1}, {"a": "x" * 11}):
        with pytest.raises(ValidationFailed):
            text_field(raw, "a", required=True, longest=10)
    assert whole_field({"a": 3}, "a", "", 1, 5) == 3
    for value in (True, 2.0, "3", 0, 6):
        with pytest.raises(ValidationFailed):
            whole_field({"a": value}, "a", "", 1, 5)


@pytest.mark.parametrize(
    "parameters",
    [
        [], {"temprature": 1}, {"temperature": 3}, {"temperature": "hot"}, {"temperature": True}, {"max_tokens": 0},
        {"max_tokens": 1.5}, {"stop": ["a"] * 17}, {"stop": [""]}, {"stop": 3}, {"n": 17}, {"seed": 2**64},
        {"reasoning_effort": 1}, {"top_p": -0.1},
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_named(parameters: object) -> None:
    with pytest.raises(ValidationFailed) as caught:
        check_llm_parameters(parameters, "parameters")
    assert (caught.value.param or "").startswith("parameters")


def test_good_parameters_pass() -> None:
    good = {"temperature": 0, "max_tokens": 5, "stop": "END", "seed": -1, "top_p": None, "reasoning_effort": "low"}
    assert check_llm_parameters(good, "parameters") == good


def test_a_conversation_needs_words() -> None:
    for messages in ((), (Message("user", ()),), tuple(Message("user", (TextPart("a"),)) for _ in range(2001))):
        with pytest.raises(ValidationFailed):
            check_chat(Chat("m", messages))


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_the_bound_of_the_input_is_above_its_bytes(texts: list[str]) -> None:
    chat = Chat("m", tuple(Message("user", (TextPart(text),)) for text in texts))
    assert input_tokens_bound(chat) >= sum(len(text.encode(errors="surrogatepass")) for text in texts)


def test_the_bound_of_the_output() -> None:
    assert output_tokens_bound(10, 100) == 10
    assert output_tokens_bound(1000, 100) == 100
    assert output_tokens_bound(None, None) > 0


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("mail jane.doe@example.org now", "mail [e-mail] now"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("card 4111 1111 1111 1112.", "card 4111 1111 1111 1112."),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [iban]"),
        ("run 1234567890123 took 17 ms", "run 1234567890123 took 17 ms"),
    ],
)
def test_personal_data_is_found_by_its_checksum(text: str, kept: str) -> None:
    assert redact(text) == kept


def test_errors_carry_a_code_and_a_status() -> None:
    def subclasses(kind: type[GatewayError]) -> list[type[GatewayError]]:
        return [kind, *(inner for one in kind.__subclasses__() for inner in subclasses(one))]

    codes = {kind.code: kind.status for kind in subclasses(GatewayError)}
    assert len(codes) > 20
    assert all(400 <= status <= 599 for status in codes.values())


def test_a_mark_of_the_encoding_is_passed_over_and_a_compressed_body_is_called_so() -> None:
    assert decode_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    with pytest.raises(BadRequest, match="compressed"):
        decode_json(gzip.compress(b"{}"))
