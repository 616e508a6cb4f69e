"""The output guards of a streamed answer: each piece is told as soon as nothing more can change it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from gateway.governance.finder_guard import FinderGuard
from gateway.governance.guard_chain import Hook, Verdict, blocked, label, verdict
from gateway.governance.limits_guard import LimitsGuard
from gateway.governance.spans import Cleaner

#: How far back a banned pattern may begin in a streamed answer, in characters.
WINDOW = 2_000


class _Step(Protocol):
    def push(self, channel: Hashable, piece: str, *, last: bool) -> str: ...


class StreamChecks:
    """The hooks over all channels (the text, the reasoning, the arguments of each tool call, …) of one stream."""

    def __init__(self, hooks: Sequence[Hook], verdicts: list[Verdict]) -> None:
        self._steps: list[_Step] = [_step(hook, verdicts) for hook in hooks]

    def push(self, channel: Hashable, piece: str, *, last: bool = False) -> str:
        """What of the channel can be told now. Raises ``GuardBlocked`` before what is not to be told."""
        for step in self._steps:
            piece = step.push(channel, piece, last=last)
        return piece


def can_stream(hook: Hook) -> bool:
    """Whether the hook can judge an answer in pieces; one of a package sees the whole."""
    return isinstance(hook.guard, (FinderGuard, LimitsGuard))


def rewrites(hooks: Sequence[Hook]) -> bool:
    """Whether one of them changes texts, or holds some of them back."""
    return any(isinstance(hook.guard, FinderGuard) and hook.spec.action != "flag" for hook in hooks)


def _step(hook: Hook, verdicts: list[Verdict]) -> _Step:
    if isinstance(hook.guard, FinderGuard):
        return _Cleaning(hook, hook.guard, verdicts)
    if isinstance(hook.guard, LimitsGuard):
        return _Bounding(hook, hook.guard, verdicts)
    raise TypeError(f"{hook.spec.name} cannot judge an answer in pieces")


class _Cleaning:
    """Takes out, refuses, or only counts what a finder finds."""

    def __init__(self, hook: Hook, guard: FinderGuard, verdicts: list[Verdict]) -> None:
        self._hook = hook
        self._finder = guard.finder
        self._channels: dict[Hashable, Cleaner] = {}
        self._verdicts = verdicts
        self._verdict: Verdict | None = None
        self._seen: set[tuple[str, str]] = set()

    def push(self, channel: Hashable, piece: str, *, last: bool) -> str:
        cleaner = self._channels.get(channel)
        if cleaner is None:
            cleaner = self._channels[channel] = Cleaner(self._finder, self._found)
        if last:
            del self._channels[channel]
        told = cleaner.push(piece, last=last)
        return piece if self._hook.spec.action == "flag" else told

    def _found(self, kind: str, value: str) -> str:
        if (kind, value) not in self._seen:
            self._seen.add((kind, value))
            self._verdict = _counted(self._verdicts, self._verdict, self._hook, kind)
        if self._hook.spec.action == "block":
            raise blocked(self._hook.spec, "output", [kind], ["choices"])
        return label(kind) if self._hook.spec.action == "redact" else value


class _Bounding:
    """Counts characters over all channels, and looks for banned patterns in the end of each."""

    def __init__(self, hook: Hook, guard: LimitsGuard, verdicts: list[Verdict]) -> None:
        self._hook = hook
        self._guard = guard
        self._verdicts = verdicts
        self._verdict: Verdict | None = None
        self._told: set[str] = set()
        self._size = 0
        self._ends: dict[Hashable, str] = {}

    def push(self, channel: Hashable, piece: str, *, last: bool) -> str:
        if not piece:
            return piece
        self._size += len(piece)
        most = self._guard.max_characters
        if most is not None and self._size > most:
            self._found("max_characters")
        if self._guard.banned is not None:
            text = self._ends.get(channel, "") + piece
            if self._guard.banned.search(text):
                self._found("banned")
            self._ends[channel] = text[-WINDOW:]
        return piece

    def _found(self, kind: str) -> None:
        if kind in self._told:
            return
        self._told.add(kind)
        self._verdict = _counted(self._verdicts, self._verdict, self._hook, kind)
        if self._hook.spec.action == "block":
            raise blocked(self._hook.spec, "output", [kind], ["choices"])


def _counted(verdicts: list[Verdict], so_far: Verdict | None, hook: Hook, kind: str) -> Verdict:
    """The hook's verdict with one more of that kind."""
    if so_far is None:
        so_far = verdict(hook.spec, "output", {}, ["choices"])
        verdicts.append(so_far)
    so_far["count"] += 1
    if kind not in so_far["kinds"]:
        so_far["kinds"].append(kind)
    return so_far
