"""Events of OpenAI's dialect that can go on as they came: read for what the ledger needs, not rewritten.

Most events of a stream say a few characters, or why it ends, and nothing else. Those that arrive together are
one piece, with their bytes (``Native.lines``); only the model's name in them becomes the caller's. An event that
is anything more (a tool call, a field that we do not know) is read in the ordinary way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gateway.models.llm_models import Delta, Native
from gateway.providers.framing import SseFrames
from gateway.providers.model_names import name_field
from gateway.providers.openai_counts import PlainUsage, usage_of
from gateway.providers.openai_wire import finish_of


class _Said(Struct, forbid_unknown_fields=True):
    content: str | None = None
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None


class _Choice(Struct):
    delta: _Said
    index: int = 0
    finish_reason: str | None = None


class _Event(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: tuple[_Choice]
    usage: None = None
    error: None = None


class _Last(Struct):
    """As ``_Event``, or the event that tells the usage."""

    id: str
    object: str
    created: int
    model: str
    choices: list[_Choice]
    usage: PlainUsage | None = None
    service_tier: str | None = None
    error: None = None


class _Used(Struct):
    id: str
    model: str
    choices: tuple[()]
    usage: PlainUsage
    service_tier: str | None = None
    error: None = None


_EVENT = msgspec.json.Decoder(_Event)
_EVENTS = msgspec.json.Decoder(list[_Last])
_END_MARK = b"data: [DONE]\n\n"
_USED = msgspec.json.Decoder(_Used)


class OpenAIFrames(SseFrames):
    """Server-sent events of one stream for a caller who knows the model as ``asked``."""

    def __init__(self, asked: str) -> None:
        super().__init__()
        self._asked = asked
        self._answering = ""
        self._names = (b"", b"")

    def feed(self, chunk: bytes) -> Sequence[dict[str, Any] | Delta]:
        if chunk[:7] != b"data: {" or chunk[-2:] != b"\n\n" or b"\r" in chunk or not self._decoder.begins(chunk):
            return super().feed(chunk)
        together = self._together(chunk)
        if together is not None:
            return together
        events = chunk[:-2].split(b"\n\n")
        said: list[str] = []
        finish = ""
        first: _Event | None = None
        for event in events:
            if event[:7] != b"data: {" or b"\n" in event:
                break
            try:
                read = _EVENT.decode(event[6:])
            except (ValueError, RecursionError):
                break
            if first is None:
                first = read
            elif read.model != first.model or read.choices[0].index != first.choices[0].index:
                break
            said.append(read.choices[0].delta.content or "")
            if read.choices[0].finish_reason:
                finish = read.choices[0].finish_reason
                break
        if first is None:
            return super().feed(chunk)
        taken = len(said)
        own = chunk if taken == len(events) else b"\n\n".join(events[:taken]) + b"\n\n"
        lines = self._renamed(own, first.model, taken)
        if lines is None:
            return super().feed(chunk)
        piece = Delta(
            choice=first.choices[0].index,
            text="".join(said),
            finish=finish_of(finish) if finish else None,
            raw_finish=finish,
            id=first.id,
            model=first.model,
            native=Native("openai", None, lines),
        )
        if own is chunk:
            return [piece]
        used = _used(events[taken]) if finish else None
        if used is None:
            return [piece, *super().feed(chunk[len(own) :])]
        return [piece, used, *super().feed(chunk[len(own) + len(events[taken]) + 2 :])]

    def _together(self, chunk: bytes) -> Sequence[Delta] | None:
        """Events that only say some text, read at once, up to the end with its usage and mark where they come with
        it; ``None`` where one of them is anything more."""
        marked = chunk.endswith(_END_MARK)
        own = chunk[: -len(_END_MARK)] if marked else chunk
        try:
            # A line's end is never within JSON: between two of them stands one event.
            read = _EVENTS.decode(b"[%b]" % own[6:-2].replace(b"\n\ndata: ", b","))
        except (ValueError, RecursionError):
            return None
        if not read or len(read) != own.count(b"\n") // 2:
            return None
        used: _Last | None = None
        if read[-1].usage is not None and not read[-1].choices:
            used = read.pop()
            own = own[: own.rfind(b"\n\n", 0, -2) + 2]
        said, finish = "", ""
        for event in read:
            if finish or event.usage is not None or len(event.choices) != 1:
                return None
            choice = event.choices[0]
            if event.model != read[0].model or choice.index != read[0].choices[0].index:
                return None
            said += choice.delta.content or ""
            finish = choice.finish_reason or ""
        found: list[Delta] = []
        if read:
            first = read[0]
            lines = self._renamed(own, first.model, len(read))
            if lines is None:
                return None
            native = Native("openai", None, lines)
            ended = finish_of(finish) if finish else None
            told = (ended, finish, "", None, first.id, first.model, native)  # in the order of its fields: made quickly
            found.append(Delta(first.choices[0].index, said, "", "", None, "", "", "", *told))
        if used is not None:
            found.append(_told(used))
        self.done = self.done or marked
        return found

    def _renamed(self, lines: bytes, answering: str, count: int) -> bytes | None:
        """The lines with the caller's name for the model; ``None`` where it is not once in each."""
        if answering == self._asked:
            return lines
        if answering != self._answering:
            self._answering = answering
            self._names = (name_field(answering), name_field(self._asked))
        old, new = self._names
        if lines.count(old) != count:
            spaced = old.replace(b":", b": ", 1)
            if lines.count(spaced) != count:
                return None
            old = spaced
        return lines.replace(old, new)


def _told(read: _Last | _Used) -> Delta:
    """The usage that an event tells."""
    usage = None if read.usage is None else usage_of(read.usage, read.service_tier)
    return Delta(usage=usage, id=read.id, model=read.model, native=Native("openai", None))


def _used(event: bytes) -> Delta | None:
    """The usage that an event tells, where it tells nothing else."""
    if event[:7] != b"data: {" or b"\n" in event:
        return None
    try:
        read = _USED.decode(event[6:])
    except (ValueError, RecursionError):
        return None
    return _told(read)
