"""Server-sent events, decoded from bytes as they come: any cutting of the stream gives the same events."""

from __future__ import annotations

import re

from msgspec import Struct

#: A single event longer than this is no event of ours.
_LONGEST = 4 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"[\r\n]")
_LF, _CR = b"\n\r"


class SseEvent(Struct, frozen=True):
    """One event: its name (``message`` unless said) and its data, lines joined by newlines."""

    name: str
    data: bytes


class SseDecoder:
    """``feed`` bytes, get the events that are complete. Lines end with LF, CR or both."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False
        #: The last line ended with CR: an LF that comes next is of the same end.
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes. ``ValueError`` for an endless one."""
        self._buffer += chunk
        if not self._started:
            self._start()
        events: list[SseEvent] = []
        while (line := self._line()) is not None:
            event = self._take(line)
            if event is not None:
                events.append(event)
        self._check(len(self._buffer))
        return events

    def begins(self, chunk: bytes) -> bool:
        """Whether no event is under way, so that ``chunk`` begins one as it stands; then no mark of the
        encoding is looked for any more."""
        if self._buffer or self._data or self._name or (not self._started and chunk.startswith(_MARK)):
            return False
        if self._after_cr:
            if chunk.startswith(b"\n"):
                return False
            self._after_cr = False
        self._started = True
        return True

    def end(self) -> list[SseEvent]:
        """What is left when the stream has ended (providers do not always send the last blank line)."""
        events = self.feed(b"\n") if self._buffer else []
        event = self._take(b"")
        return [*events, event] if event is not None else events

    def _start(self) -> None:
        """Takes the mark of the encoding away, once it is sure whether there is one."""
        head = bytes(self._buffer[:3])
        if head == _MARK:
            del self._buffer[:3]
        self._started = len(head) == 3 or not _MARK.startswith(head)

    def _line(self) -> bytes | None:
        if self._after_cr and self._buffer:
            self._after_cr = False
            if self._buffer[0] == _LF:
                del self._buffer[:1]
        found = _LINE_END.search(self._buffer, self._searched)
        if found is None:
            self._searched = len(self._buffer)  # an unfinished line is not searched again
            return None
        at = found.start()
        self._check(at)
        self._after_cr = self._buffer[at] == _CR
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        self._searched = 0
        return line

    def _check(self, length: int) -> None:
        """Whether a line of this length is too much for its event."""
        if length + self._size > _LONGEST:
            raise ValueError("an event longer than any of ours")

    def _take(self, line: bytes) -> SseEvent | None:
        if not line:
            if not self._data:
                self._name = ""
                return None
            event = SseEvent(self._name or "message", b"\n".join(self._data))
            self._name, self._data, self._size = "", [], 0
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value)
        elif field == b"event":
            self._name = value.decode(errors="replace")
        return None
