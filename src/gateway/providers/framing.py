"""How the events of a streamed answer are told apart in its bytes: server-sent events, or AWS's event stream."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from gateway.providers.aws_event_stream import AwsEvent, EventStreamDecoder
from gateway.providers.sse import SseDecoder, SseEvent


class Frames(Protocol):
    """Bytes in, JSON objects out. ``done``: the provider has said that nothing follows."""

    done: bool

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
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

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        return self._objects(self._decoder.feed(chunk))

    def end(self) -> list[dict[str, Any]]:
        return self._objects(self._decoder.end())

    def _objects(self, events: list[SseEvent]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for event in events:
            if event.data.strip() == b"[DONE]":
                self.done = True
                break
            raw = _object(event.data)
            if raw is None:
                continue
            found.append({"error": raw.get("error", raw)} if event.name == "error" else raw)
        return found


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
        raw = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
    return raw if isinstance(raw, dict) else None
