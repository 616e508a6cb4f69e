"""Server-sent events, decoded from bytes as they come: any cutting of the stream gives the same events."""

from __future__ import annotations

from msgspec import Struct

#: A single event longer than this is no event of ours.
_LONGEST = 4 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"


class SseEvent(Struct, frozen=True):
    """One event: its name (``message`` unless said) and its data, lines joined by newlines."""

    name: str
    data: bytes


class SseDecoder:
    """``feed`` bytes, get the events that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes. ``ValueError`` for an endless one."""
        self._buffer += chunk
        if not self._started and len(self._buffer) >= 3:
            self._started = True
            if self._buffer.startswith(_MARK):
                del self._buffer[:3]
        events: list[SseEvent] = []
        while (line := self._line()) is not None:
            event = self._take(line)
            if event is not None:
                events.append(event)
        if len(self._buffer) + self._size > _LONGEST:
            raise ValueError("an event longer than any of ours")
        return events

    def begins(self, chunk: bytes) -> bool:
        """Whether no event is under way, so that ``chunk`` begins one as it stands; then no mark of the
        encoding is looked for any more."""
        if self._buffer or self._data or self._name or (not self._started and chunk.startswith(_MARK)):
            return False
        self._started = True
        return True

    def end(self) -> list[SseEvent]:
        """What is left when the stream has ended (providers do not always send the last blank line)."""
        events = self.feed(b"\n") if self._buffer else []
        event = self._take(b"")
        return [*events, event] if event is not None else events

    def _line(self) -> bytes | None:
        found = self._buffer.find(b"\n")
        if found < 0:
            return None
        line = bytes(self._buffer[:found])
        del self._buffer[: found + 1]
        return line[:-1] if line.endswith(b"\r") else line

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
