"""AWS's event stream (``application/vnd.amazon.eventstream``), decoded from bytes as they come.

A frame: total length, header length, CRC-32 of these; headers; payload; CRC-32 of all before it.
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream
"""

from __future__ import annotations

import struct
import zlib

from msgspec import Struct

#: A frame longer than this is none of ours.
_LONGEST = 16 * 1024 * 1024
_PRELUDE = 12
_CHECKSUM = 4
#: Bytes of a header's value by its type; types 6 and 7 carry their own length.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _STRING = 6, 7


class AwsEvent(Struct, frozen=True):
    """One frame: its text headers and its payload."""

    headers: dict[str, str]
    payload: bytes


class EventStreamDecoder:
    """``feed`` bytes, get the frames that are complete. ``ValueError`` for bytes that are no frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[AwsEvent]:
        """The frames that this chunk completes."""
        self._buffer += chunk
        events = []
        while len(self._buffer) >= _PRELUDE:
            total, headers, checksum = struct.unpack_from(">III", self._buffer)
            if checksum != zlib.crc32(self._buffer[:8]):
                raise ValueError("a frame's beginning is damaged")
            if total > _LONGEST or total < _PRELUDE + headers + _CHECKSUM:
                raise ValueError("a frame of an impossible length")
            if len(self._buffer) < total:
                break
            frame = bytes(self._buffer[:total])
            del self._buffer[:total]
            if struct.unpack(">I", frame[-_CHECKSUM:])[0] != zlib.crc32(frame[:-_CHECKSUM]):
                raise ValueError("a frame is damaged")
            ended = _PRELUDE + headers
            events.append(AwsEvent(_headers(frame[_PRELUDE:ended]), frame[ended:-_CHECKSUM]))
        return events

    def end(self) -> None:
        """The stream has ended; ``ValueError`` in the middle of a frame."""
        if self._buffer:
            raise ValueError("the stream ended in the middle of a frame")


def _headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            length = data[at]
            name = data[at + 1 : at + 1 + length].decode()
            kind = data[at + 1 + length]
            at += length + 2
            if kind in (_BYTES, _STRING):
                (size,) = struct.unpack_from(">H", data, at)
                at += 2
                if kind == _STRING:
                    found[name] = data[at : at + size].decode()
            else:
                size = _SIZES[kind]
            at += size
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError("a frame's headers are damaged") from error
    return found
