"""AWS's event stream: a frame known byte for byte, every type of header, any cutting, no damage passed over."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.aws import converse_events, exception, frame
from gateway.providers.aws_event_stream import AwsEvent, EventStreamDecoder

#: A frame as AWS's own libraries write it, so that this is no mere mirror of ``fixtures.aws``.
KNOWN = bytes.fromhex(
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d8d9c08b1"
)
#: A value of every type: true, false, byte, short, integer, long, bytes, text, timestamp, UUID.
VALUES = {
    0: b"",
    1: b"",
    2: b"\x01",
    3: b"\x00\x02",
    4: b"\x00\x00\x00\x03",
    5: b"\xff" * 8,
    6: b"\x00\x03abc",
    7: b"\x00\x04text",
    8: b"\xff" * 8,
    9: b"\xff" * 16,
}
MIXED = [*converse_events("Hel", "lo"), KNOWN, frame({}, b""), exception("throttlingException", "slowly")]
STREAM = b"".join(MIXED)
NAMES = st.text(st.characters(codec="ascii"), max_size=20)


def packed(headers: bytes, payload: bytes = b"") -> bytes:
    """A sound frame around headers as they are given."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


def prelude(total: int, headers: int = 0) -> bytes:
    """Twelve bytes that promise a frame."""
    lengths = struct.pack(">II", total, headers)
    return lengths + struct.pack(">I", zlib.crc32(lengths))


def decoded(*chunks: bytes) -> list[AwsEvent]:
    decoder = EventStreamDecoder()
    found = [event for chunk in chunks for event in decoder.feed(chunk)]
    decoder.end()
    return found


def test_a_known_frame() -> None:
    assert decoded(KNOWN) == [AwsEvent({"content-type": "application/json"}, b"{'foo':'bar'}")]


def test_frames_of_nothing_are_frames() -> None:
    assert decoded(frame({}, b""), frame({}, b"x")) == [AwsEvent({}, b""), AwsEvent({}, b"x")]
    assert decoded() == decoded(b"") == []


def test_an_exception_says_so_in_its_headers() -> None:
    (event,) = decoded(exception("throttlingException", "slowly"))
    assert event.headers == {
        ":exception-type": "throttlingException",
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    assert event.payload == b'{"message": "slowly"}'


def test_text_headers_are_kept_and_the_others_passed_over() -> None:
    headers = b"".join(b"\x02h" + str(kind).encode() + bytes([kind]) + value for kind, value in VALUES.items())
    assert decoded(packed(headers, b"body")) == [AwsEvent({"h7": "text"}, b"body")]


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_a_header_of_any_type_leaves_the_next_one_readable(kind: int) -> None:
    (event,) = decoded(packed(b"\x01a" + bytes([kind]) + VALUES[kind] + b"\x01b\x07\x00\x01z", b"body"))
    assert event.headers["b"] == "z"
    assert event.payload == b"body"


def test_text_is_utf_8() -> None:
    assert decoded(frame({"name": "é—ሴ"}, b"")) == [AwsEvent({"name": "é—ሴ"}, b"")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_cutting_gives_the_same_events(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    whole = decoded(STREAM)
    assert len(whole) == len(MIXED)
    assert decoded(*(STREAM[start:end] for start, end in pairwise(places))) == whole


def test_byte_by_byte_gives_the_same_events() -> None:
    assert decoded(*(STREAM[place : place + 1] for place in range(len(STREAM)))) == decoded(STREAM)


@given(st.dictionaries(NAMES, st.text(max_size=50), max_size=5), st.binary(max_size=200))
def test_what_is_framed_is_read_back(headers: dict[str, str], payload: bytes) -> None:
    assert decoded(frame(headers, payload)) == [AwsEvent(headers, payload)]


@pytest.mark.parametrize("length", range(1, len(KNOWN)))
def test_a_truncated_frame_is_an_error_at_the_end(length: int) -> None:
    decoder = EventStreamDecoder()
    assert decoder.feed(KNOWN + KNOWN[:length]) == decoded(KNOWN)
    with pytest.raises(ValueError, match="middle of a frame"):
        decoder.end()


@pytest.mark.parametrize("place", range(12))
def test_a_damaged_prelude_is_told_before_the_frame_is_there(place: int) -> None:
    damaged = bytearray(KNOWN[:12])
    damaged[place] ^= 1
    with pytest.raises(ValueError, match="beginning is damaged"):
        EventStreamDecoder().feed(bytes(damaged))


@pytest.mark.parametrize("place", range(12, len(KNOWN)))
def test_damage_anywhere_else_is_told_with_the_last_byte(place: int) -> None:
    damaged = bytearray(KNOWN)
    damaged[place] ^= 1
    decoder = EventStreamDecoder()
    assert decoder.feed(bytes(damaged[:-1])) == []
    with pytest.raises(ValueError, match="frame is damaged"):
        decoder.feed(bytes(damaged[-1:]))


@pytest.mark.parametrize(
    ("total", "headers"),
    [(16 * 1024 * 1024 + 1, 0), (0xFFFFFFFF, 0), (15, 0), (0, 0), (16, 1), (100, 85), (16, 0xFFFFFFFF)],
)
def test_an_impossible_length_is_refused_by_the_prelude_alone(total: int, headers: int) -> None:
    with pytest.raises(ValueError, match="impossible length"):
        EventStreamDecoder().feed(prelude(total, headers))


def test_the_longest_frame_is_taken() -> None:
    payload = bytes(16 * 1024 * 1024 - 16)
    (event,) = decoded(packed(b"", payload))
    assert event.payload == payload


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05ab",  # a name that ends too soon
        b"\x01a",  # no type
        b"\x01a\x07\x00",  # half a length
        b"\x01a\x0a",  # no such type
        b"\x01a\xff",
        b"\x01\xff\x07\x00\x01z",  # a name that is no UTF-8
        b"\x01a\x07\x00\x01\xff",  # text that is no UTF-8
    ],
)
def test_headers_that_cannot_be_read_are_refused(headers: bytes) -> None:
    with pytest.raises(ValueError, match="headers are damaged"):
        EventStreamDecoder().feed(packed(headers))
