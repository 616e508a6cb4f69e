"""How the events of a streamed answer are told apart in its bytes: server-sent events, or AWS's event stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gateway.models.llm_models import Delta
from gateway.providers.aws_event_stream import AwsEvent, EventStreamDecoder
from gateway.providers.lenient_json import loads
from gateway.providers.sse import SseDecoder, SseEvent


class Frames(Protocol):
    """Bytes in, JSON objects out, or pieces that are read already. ``done``: the provider has said that
    nothing follows."""

    done: bool

    def feed(self, chunk: bytes) -> Sequence[dict[str, Any] | Delta]:
        """The objects that this chunk completes; ``ValueError`` for bytes that cannot be read on."""
        ...

    def end(self) -> list[dict[str, Any]]:
        """What is left when the bytes have ended."""
        ...


class SseFrames:
    """Server-sent events with JSON data; what is no JSON object is passed over, the rest may well complete.

    An event that is named ``error`` is marked so for whoever reads it.
    """

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self.done = False

    def feed(self, chunk: bytes) -> Sequence[dict[str, Any] | Delta]:
        if chunk[-2:] != b"\n\n" or b"\r" in chunk or not self._decoder.begins(chunk):
            return self._objects(self._decoder.feed(chunk))
        found: list[dict[str, Any]] = []
        for block in chunk[:-2].split(b"\n\n"):  # whole events, as nearly every chunk has them
            name, data = b"", block[6:]
            if block[:7] == b"event: ":
                name, _, data = block[7:].partition(b"\ndata: ")
            elif block[:6] != b"data: ":
                data = b""
            if data and b"\n" not in data and b"\n" not in name:
                self._take("error" if name == b"error" else "", data, found)
            else:
                for event in self._decoder.feed(block + b"\n\n"):
                    self._take(event.name, event.data, found)
            if self.done:
                break
        return found

    def end(self) -> list[dict[str, Any]]:
        return self._objects(self._decoder.end())

    def _objects(self, events: list[SseEvent]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for event in events:
            self._take(event.name, event.data, found)
            if self.done:
                break
        return found

    def _take(self, name: str, data: bytes, found: list[dict[str, Any]]) -> None:
        raw = _object(data)
        if raw is not None:
            found.append({"error": raw.get("error", raw)} if name == "error" else raw)
        elif data.strip() == b"[DONE]":
            self.done = True


class AwsFrames:
    """AWS's event stream: each payload with its kind as ``event``; an exception as an ``error``."""

    def __init__(self) -> None:
        self._decoder = EventStreamDecoder()
        self.done = False

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        return [self._object(event) for event in self._decoder.feed(chunk)]

    def end(self) -> list[dict[str, Any]]:
        self._decoder.end()
        return []

    def _object(self, event: AwsEvent) -> dict[str, Any]:
        payload = _object(event.payload) or {}
        if event.headers.get(":message-type", "event") == "event":
            return {"event": event.headers.get(":event-type", ""), "payload": payload}
        kind = event.headers.get(":exception-type") or event.headers.get(":error-code") or "exception"
        told = payload.get("message") or event.headers.get(":error-message") or kind
        return {"error": {"type": _KINDS.get(kind, kind), "message": str(told)}}


#: AWS's exceptions by the names that ``upstream_errors`` knows.
_KINDS = {
    "throttlingException": "rate_limit_error",
    "serviceUnavailableException": "overloaded_error",
    "validationException": "invalid_request_error",
}


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        raw = loads(data)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
        return None
    return raw if isinstance(raw, dict) else None
