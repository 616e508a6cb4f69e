"""Events to whoever listens: each listener reads from the database after the last id it has had, so that
nothing is lost or doubled; one poller a process says when there is something new."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence

from gateway.errors import GatewayError
from gateway.events.event import Event
from gateway.security.access import Caller
from gateway.tasks.desk import Desk

_log = logging.getLogger(__name__)
#: How often it is asked whether there is something new. Where a look at a file tells that something was written,
#: that is looked at instead, and the database is asked at once, and now and then for all that.
_POLL_SECONDS, _LOOK_SECONDS, _SURE_SECONDS = 0.02, 0.01, 0.1
#: What has just happened is mostly followed by more: for so long it is asked so often.
_LIVELY_SECONDS, _LIVELY_POLL_SECONDS = 1.0, 0.005
_BATCH = 200


class EventFeed:
    """One a process and event loop; the poller runs while somebody listens."""

    def __init__(self, desk: Desk, stamp: Callable[[], object | None] = lambda: None) -> None:
        """``stamp``: a value that is another after each commit; ``None`` where there is none."""
        self._desk = desk
        self._stamp = stamp
        self._latest = 0
        self._lively_until = 0.0
        self._news = asyncio.Condition()
        self._listeners = 0
        self._poller: asyncio.Task[None] | None = None

    async def latest(self) -> int:
        """The newest event's id."""
        return await asyncio.to_thread(self._desk.latest_event_id)

    async def listen(
        self,
        caller: Caller,
        after: int,
        *,
        run_id: str | None = None,
        task_id: str | None = None,
        types: Sequence[str] = (),
        silence: float = 15.0,
    ) -> AsyncIterator[Event | None]:
        """Events with ids above ``after`` as they come; ``None`` after each ``silence`` seconds without."""
        self._listeners += 1
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            while True:
                seen = self._latest
                batch = await asyncio.to_thread(
                    self._desk.events, caller, after=after, run_id=run_id, task_id=task_id, types=types, limit=_BATCH
                )
                for event in batch:
                    after = event.id
                    yield event
                if len(batch) == _BATCH:
                    continue
                if not await self._wait(seen, silence):
                    yield None
        finally:
            self._listeners -= 1

    async def _wait(self, seen: int, silence: float) -> bool:
        """True as soon as there are events newer than ``seen``."""
        try:
            async with asyncio.timeout(silence), self._news:
                await self._news.wait_for(lambda: self._latest != seen)
        except TimeoutError:
            return False
        return True

    async def _poll(self) -> None:
        try:
            while self._listeners:
                seen = self._stamp()
                try:
                    latest = await self.latest()
                except GatewayError as error:
                    _log.warning("events wait: %s", error.message)
                    latest = self._latest
                if latest != self._latest:
                    self._lively_until = time.monotonic() + _LIVELY_SECONDS
                    async with self._news:
                        self._latest = latest
                        self._news.notify_all()
                await self._until_written(seen)
        finally:
            self._poller = None

    async def _until_written(self, seen: object | None) -> None:
        """Returns when something was written since ``seen``, or it is time to ask anyway."""
        if seen is None:
            lively = time.monotonic() < self._lively_until
            await asyncio.sleep(_LIVELY_POLL_SECONDS if lively else _POLL_SECONDS)
            return
        sure = time.monotonic() + _SURE_SECONDS
        while time.monotonic() < sure:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._stamp() != seen:
                return
