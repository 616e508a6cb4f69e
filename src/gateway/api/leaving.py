"""Watches over a streamed answer: a client that leaves ends its call, and silence is filled with comments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope

from gateway.api.lean import LEAN, Lean

PING = b": ping\n\n"
#: A stream that says nothing for so long gets a comment.
PING_SECONDS = 10.0


class Watch:
    """Made by the task that streams. It is cancelled when the client leaves (``left``), unless ``stays`` says
    that it goes on without one; ``heard`` is to be set whenever something was written. ``end`` it in every case."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        write: Callable[[bytes], Awaitable[None]],
        stays: Callable[[], bool] = lambda: False,
    ) -> None:
        self._receive = receive
        self._write = write
        self._stays = stays
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._ended = False
        self._pinging: asyncio.Future[None] | None = None
        self.left = False
        self.heard = False
        lean: Lean | None = scope.get(LEAN)
        self._gone = None if lean is not None and lean.when_left(self._leave) else asyncio.ensure_future(self._wait())
        self._timer = self._loop.call_later(PING_SECONDS, self._listen)

    def end(self) -> None:
        """The stream has ended."""
        self._ended = True
        if self._gone is not None:
            self._gone.cancel()
        self._timer.cancel()
        if self.left and self._task is not None:
            self._task.uncancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._leave()

    def _leave(self) -> None:
        if not self._ended and self._task is not None and not self._stays():
            self.left = True
            self._task.cancel()

    def _listen(self) -> None:
        if not self.heard:
            self._pinging = asyncio.ensure_future(self._ping())
        self.heard = False
        self._timer = self._loop.call_later(PING_SECONDS, self._listen)

    async def _ping(self) -> None:
        if not self._ended:
            await self._write(PING)
