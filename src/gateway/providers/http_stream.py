"""One streamed answer: bytes from a provider become pieces, for whoever iterates or has them poured out.

Poured out, a piece goes on within the callback that brought its bytes: no task is woken for it.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import structs

from gateway.errors import (
    GatewayError,
    StreamIncomplete,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.models.llm_models import Delta, Native
from gateway.providers.framing import Frames
from gateway.providers.transport import StreamedResponse
from gateway.providers.upstream_errors import event_error

_log = logging.getLogger(__name__)
#: Seconds for what may follow the finish reason.
_LAST_WORDS = 2.0


class HttpStream:
    """The pieces, with the events themselves where the caller speaks the ``dialect`` of ``own``.

    Malformed events are left out, for the rest may well complete. Once every choice has its finish reason
    the answer is whole: what is still to come (usage, the end mark) has ``_LAST_WORDS``.
    """

    def __init__(
        self,
        provider: str,
        begin: Callable[[], Awaitable[StreamedResponse]],
        frames: Frames,
        decode: Callable[[dict[str, Any]], list[Delta]],
        *,
        own: str,
        asked: int,
    ) -> None:
        """``own`` is empty where the caller speaks another dialect; ``asked`` is the number of choices."""
        self._provider = provider
        self._begin = begin
        self._frames = frames
        self._decode = decode
        self._own = own
        self._progress = _Progress(asked)
        self._response: StreamedResponse | None = None
        self._pieces: deque[Delta] = deque()
        self._over = False
        self._error: GatewayError | None = None
        self._context: contextvars.Context | None = None

    def __aiter__(self) -> HttpStream:
        return self

    async def __anext__(self) -> Delta:
        pieces = self._pieces
        while not pieces:
            if self._over:
                self._raise()
                raise StopAsyncIteration
            try:
                response = self._response
                if response is None:
                    response = self._response = await self._begin()
                chunk = await response.chunk()
            except GatewayError as error:
                self._broken(error)
            except BaseException:
                self._close(ended=False)
                raise
            else:
                self._take(chunk)
        return pieces.popleft()

    async def pour(self, act: Callable[[Sequence[Delta], bool], bool], begun: Sequence[Delta] = ()) -> bool:
        """Hands the pieces to ``act`` as they come, those of one read together, with whether more may follow: true
        at their end, false where ``act`` says that it wants no more for now. An answer has to have begun
        (``__anext__``); the pieces of it that were taken so go before the others (``begun``)."""
        wants = True
        pieces, response = self._pieces, self._response
        self._context = contextvars.copy_context()

        def take(chunk: bytes) -> bool:
            nonlocal wants
            self._take(chunk)
            if pieces:
                told = tuple(pieces)
                pieces.clear()
                wants = act(told, not self._over)
            return wants and not self._over

        if begun or pieces:
            told = (*begun, *pieces)
            pieces.clear()
            wants = act(told, not self._over)
        while wants and not self._over and response is not None:
            try:
                if await response.pour(take):
                    take(b"")
            except GatewayError as error:
                self._broken(error)
            except BaseException:
                self._close(ended=False)
                raise
        if not wants:
            return False
        self._raise()
        return True

    async def aclose(self) -> None:
        """Hangs up, unless all has been said."""
        self._close(ended=False)

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _close(self, *, ended: bool) -> None:
        self._over = True
        if self._response is not None:
            self._response.close(ended=ended)
            self._response = None

    def _take(self, chunk: bytes) -> None:
        """Reads what has come; an empty chunk is the end of it."""
        frames = self._frames
        try:
            if chunk:
                self._read(frames.feed(chunk))
            else:
                self._read(frames.end())
                frames.done = True
        except GatewayError as error:
            self._fail(error)
        except ValueError as error:
            told = UpstreamMalformed(f"{self._provider} sent an event that cannot be read", reached=True)
            told.__cause__ = error
            self._fail(told)
        else:
            if frames.done:
                self._end()

    def _read(self, events: Sequence[dict[str, Any] | Delta]) -> None:
        pieces, progress = self._pieces, self._progress
        for raw in events:
            if isinstance(raw, Delta):
                read: Sequence[Delta] = (raw,)
            elif raw.get("error") and not raw.get("choices"):
                raise event_error(self._provider, raw)
            else:
                read = self._decoded(raw)
            for piece in read:
                pieces.append(piece)
                if (piece.finish is not None or progress.asked > 1) and progress.note(piece) and self._response:
                    self._response.hurry(_LAST_WORDS)
            if type(raw) is dict and raw.get("type") == "message_stop":
                self._frames.done = True
                return

    def _broken(self, error: GatewayError) -> None:
        """The line broke, or fell silent."""
        if self._progress.whole and isinstance(error, UpstreamTimeout | UpstreamUnavailable):
            self._end()  # the answer was whole; only its end was missing
        else:
            self._fail(error)

    def _end(self) -> None:
        self._close(ended=True)
        if not self._progress.sound:
            self._error = StreamIncomplete(f"{self._provider}'s stream stopped without a finish reason", reached=True)

    def _fail(self, error: GatewayError) -> None:
        self._close(ended=False)
        self._error = error

    def _decoded(self, raw: dict[str, Any]) -> Sequence[Delta]:
        """The pieces of an event; none for one that is not of its dialect's shape."""
        try:
            found = self._decode(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            context = self._context or contextvars.copy_context()
            told = "an event of %s cannot be read and is left out (%s)"
            context.run(_log.warning, told, self._provider, type(error).__name__)
            return ()
        return _with_event(found, self._own, raw) if self._own else found


class _Progress:
    """Which of the asked choices have their finish reason."""

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    @property
    def whole(self) -> bool:
        """Whether nothing can follow but usage and the end mark."""
        return len(self._finished) >= self.asked

    @property
    def sound(self) -> bool:
        """Whether every choice that has begun was brought to its end, and there was one."""
        return bool(self._finished) and self._begun <= self._finished

    def note(self, delta: Delta) -> bool:
        """One more piece; true where it makes the answer whole."""
        if delta.finish is not None:
            self._finished.add(delta.choice)
            return self.whole
        if self.asked > 1 and delta.says():
            self._begun.add(delta.choice)
        return False


def _with_event(deltas: list[Delta], dialect: str, raw: dict[str, Any]) -> list[Delta]:
    """The first piece carries the event itself; an event that says nothing to us is a piece all the same."""
    first, *rest = deltas or [Delta()]
    covered = Native(dialect, None)
    return [
        structs.replace(first, native=Native(dialect, raw)),
        *(structs.replace(delta, native=covered) for delta in rest),
    ]
