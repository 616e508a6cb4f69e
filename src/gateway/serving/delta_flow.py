"""The texts of a stream's pieces passed through something that may hold a little back, in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gateway.models.llm_models import Delta, Reply, TextPart, ThinkingPart, ToolUsePart


class Channel(NamedTuple):
    """One text of a stream: of a choice the ``text``, the ``thinking``, or the ``arguments`` of a tool call."""

    choice: int
    kind: str
    tool: int = 0


Push = Callable[[Channel, str, bool], str]


class DeltaFlow:
    """``push(channel, piece, last)`` gives what can be told now. What it held back is told before the piece
    that ends its channel, or with it."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._open: dict[Channel, None] = {}
        self._refused: set[int] = set()

    def feed(self, delta: Delta) -> list[Delta]:
        """The pieces to tell in the place of this one."""
        said = _said(delta)
        if delta.refusal:
            self._refused.add(delta.choice)
        told = self._close([channel for channel in self._open if _ends(channel, delta, said)])
        changes: dict[str, str] = {}
        for channel, piece in said.items():
            last = delta.finish is not None or bool(channel.kind == "thinking" and delta.signature)
            changes[channel.kind] = self._push(channel, piece, last)
            if last:
                self._open.pop(channel, None)
            else:
                self._open[channel] = None
        told.append(msgspec.structs.replace(delta, **changes) if changes else delta)
        return told

    def end(self) -> list[Delta]:
        """What is still held back."""
        return self._close(list(self._open))

    def _close(self, channels: list[Channel]) -> list[Delta]:
        told = []
        for channel in channels:
            del self._open[channel]
            rest = self._push(channel, "", True)
            if rest and channel.kind == "arguments":
                told.append(Delta(choice=channel.choice, tool_index=channel.tool, arguments=rest))
            elif rest and channel.kind == "thinking":
                told.append(Delta(choice=channel.choice, thinking=rest))
            elif rest:
                told.append(Delta(choice=channel.choice, text=rest, refusal=channel.choice in self._refused))
        return told


def deltas_of(reply: Reply) -> tuple[Delta, ...]:
    """A whole answer as the pieces of a stream."""
    told = [Delta(id=reply.id, model=reply.model)]
    for at, choice in enumerate(reply.choices):
        tools, refused = 0, choice.finish == "stop" and choice.raw_finish == "refusal"
        for part in choice.parts:
            if isinstance(part, TextPart):
                told.append(Delta(choice=at, text=part.text, refusal=refused))
            elif isinstance(part, ThinkingPart):
                told.append(Delta(choice=at, thinking=part.text, signature=part.signature))
            elif isinstance(part, ToolUsePart):
                call = Delta(choice=at, tool_index=tools, tool_id=part.id, tool_name=part.name)
                told.append(msgspec.structs.replace(call, arguments=part.arguments, signature=part.signature))
                tools += 1
        told.append(
            Delta(choice=at, finish=choice.finish, raw_finish=choice.raw_finish, stop_sequence=choice.stop_sequence)
        )
    return (*told, Delta(usage=reply.usage))


def _said(delta: Delta) -> dict[Channel, str]:
    said = {}
    if delta.thinking:
        said[Channel(delta.choice, "thinking")] = delta.thinking
    if delta.text:
        said[Channel(delta.choice, "text")] = delta.text
    if delta.arguments and delta.tool_index is not None:
        said[Channel(delta.choice, "arguments", delta.tool_index)] = delta.arguments
    return said


def _ends(channel: Channel, delta: Delta, said: dict[Channel, str]) -> bool:
    """Whether the piece says that no more of the channel comes (before it)."""
    if channel.choice != delta.choice:
        return False
    if channel.kind == "arguments" and delta.tool_id:
        return True  # another call begins, perhaps under the same number
    if channel in said:
        return False
    return (
        delta.finish is not None
        or bool(channel.kind == "thinking" and delta.signature)
        or (channel.kind != "arguments" and (bool(said) or delta.tool_index is not None))
    )
