"""Runs the steps that doorbells name: claim each, do it, end it; or drop it where the bell is stale.

Handlers are coroutines on one loop in a thread of its own, so connections to models are kept warm between steps.
Beginnings and ends are written by the set (``together.py``); an end begins what its worker goes on with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from gateway.clock import Clock
from gateway.engine import children, claim
from gateway.engine.ports import EngineStore, EngineTx, Executor
from gateway.engine.rows import Doorbell, StepRow
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import Unavailable
from gateway.tasks.attempt import Attempt, Watch
from gateway.tasks.attempt_end import End, end_of
from gateway.tasks.gate import Gate
from gateway.tasks.step_context import ContextFactory
from gateway.tasks.step_work import Ready, StepWork
from gateway.tasks.together import Change, Together

_log = logging.getLogger(__name__)
#: How long the end of a step is tried while the database does not answer, in seconds.
_FINISH_SECONDS = 12.0
#: For how long a worker goes on with a run, in seconds; then its steps wait their turn like everybody's, as their
#: priorities want it.
_GO_ON_SECONDS = 0.5
#: How long what has ended is waited for to be written when the process ends, in seconds.
_CLOSE_SECONDS = 2.0


class Calls(Protocol):
    """The money of this process's model calls; see ``ledger.calls``."""

    def look(self) -> None:
        """Takes note of budgets that are new."""
        ...

    def flush(self) -> None:
        """Returns when every call that ended is in the ledger."""
        ...


#: Whether the end of a step counted, what its hand goes on with, and whom to ring for.
_Ended = tuple[bool, Ready | None, list[Doorbell]]


class _Hand:
    """One who does steps: the one that a doorbell named, and while they are short those that follow it in its run.
    ``over`` is called once it is free."""

    __slots__ = ("computes", "over", "pause", "tried_until", "until")

    def __init__(self, over: Callable[[], None], *, computes: bool) -> None:
        self.over = over
        self.computes = computes
        self.until = 0.0
        #: Of the end that could not be written: until when it is tried, and how soon.
        self.tried_until = 0.0
        self.pause = 0.1


class _Beginning(Change):
    """The step of a doorbell is to be begun."""

    __slots__ = ("hand",)

    def __init__(self, hand: _Hand, bell: Doorbell, work: Callable[[EngineTx], Ready | None]) -> None:
        super().__init__(bell, work)
        self.hand = hand


class _Ending(Change):
    """A step is to be ended."""

    __slots__ = ("hand", "within")

    def __init__(self, hand: _Hand, ready: Ready, work: Callable[[EngineTx], _Ended]) -> None:
        super().__init__(ready.step, work)
        self.hand = hand
        #: Its run is a step of another.
        self.within = ready.run.parent_run is not None


class StepRunner:
    """One a process. ``take`` and ``run`` may be called from any thread."""

    def __init__(
        self,
        store: EngineStore,
        contexts: ContextFactory,
        task_types: Mapping[str, TaskTypeSpec],
        clock: Clock,
        calls: Calls,
        *,
        worker: str,
        at_once: int = 32,
        at_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``at_once``: steps in hand. ``at_end`` closes what was opened on the loop of the steps, and is run there."""
        self._calls = calls
        self._store = store
        self._work = StepWork(store, contexts, task_types, clock)
        self._clock = clock
        self._worker = worker
        self._at_end = at_end
        self._executor: Executor | None = None
        #: Set when no step is run here any more.
        self.closing = threading.Event()
        self._gate = Gate[_Beginning](at_once)
        self._watch = Watch(store, clock, self._long, self._spread)
        self._together = Together[_Beginning | _Ending](store, self._before, self._after)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="steps", daemon=True)
        self._thread.start()

    def ring_with(self, executor: Executor) -> None:
        """Who is told of steps that became ready."""
        self._executor = executor

    def take(self, bells: Iterable[Doorbell], over: Callable[[], None]) -> None:
        """An attempt for each of these from begin to end, and while steps are short those that follow it in its run.
        ``over`` is called for each once that is done, whatever comes of it, unless this process ends before."""
        for bell in bells:
            hand = _Hand(over, computes=bell.queue != "llm")
            self._gate.enter(self._beginning(hand, bell), computes=hand.computes)
        self._admit()

    def run(self, task_id: str, token: int, queue: str = "cpu") -> None:
        """The same of one; returns when it is over. Never raises for what a step does; logs what it cannot store."""
        over = threading.Event()
        self.take([Doorbell(task_id, token, queue, 0)], over.set)
        while not over.wait(1.0):
            if self.closing.is_set():
                return

    def close(self) -> None:
        """Stops the loop; running handlers are cancelled, and left to the sweep. What has ended is written."""
        self.closing.set()
        self._gate.empty()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)
        self._together.close(_CLOSE_SECONDS)

    def _admit(self) -> None:
        """Those in line begin, as far as they may."""
        admitted = [] if self.closing.is_set() else self._gate.admitted()
        if admitted:
            self._together.put(admitted)

    def _free(self, hand: _Hand) -> None:
        self._gate.leave(computes=hand.computes)
        hand.over()

    # -- on the loop of the steps -----------------------------------------------------------------

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):  # a task that a handler left behind; the steps of others go on
                _log.exception("something that a step began wanted to end this worker")
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        if self._at_end is not None:
            await self._at_end()
        await asyncio.sleep(0)  # what is closed is told so in the loop's next turn

    def _begin(self, begun: Sequence[tuple[_Hand, Ready]]) -> None:
        """These steps are begun in the database; now they are done."""
        if self.closing.is_set():
            return  # nobody would stop them any more; they are left to the sweep
        attempts = []
        for hand, ready in begun:
            attempt = Attempt(ready, self._watch.pulse(ready))
            attempt.begin(self._loop, self._work, partial(self._attempted, hand))
            attempts.append(attempt)
        self._watch.over(self._loop, attempts)

    def _attempted(self, hand: _Hand, attempt: Attempt) -> None:
        if self.closing.is_set() and attempt.abandoned:
            return
        end, task_id = None, attempt.ready.step.task_id
        try:
            end = end_of(attempt)
            if end is None:
                _log.warning("step %s was taken from this worker; its work is dropped", task_id)
        except Exception:  # noqa: BLE001 - whatever a handler raised cannot be told; its place is free all the same
            _log.exception("how step %s ended is not known; the sweep will run it again", task_id)
        if end is None:
            self._free(hand)
            self._admit()
            return
        if hand.computes and not attempt.long:
            self._gate.noted(long=False)
        goes_on = time.monotonic() < hand.until
        self._together.put([_Ending(hand, attempt.ready, partial(self._finish, attempt.ready.step, end, goes_on))])

    def _long(self, attempt: Attempt) -> None:
        if attempt.ready.step.queue != "llm":
            self._gate.noted(long=True)

    def _spread(self, run_id: str) -> None:
        """Where a step takes long, the others that are ready do not wait for it. Blocks on the database."""
        now = self._clock.now()
        with contextlib.suppress(Unavailable):  # the next sweep does it
            with self._store.read() as tx:
                if not tx.any_ready(run_id, now):
                    return
            with self._store.begin() as tx:
                doorbells = claim.spread(tx, run_id, now)
            self._ring(doorbells)

    # -- in a transaction -------------------------------------------------------------------------

    def _beginning(self, hand: _Hand, bell: Doorbell) -> _Beginning:
        def begin(tx: EngineTx) -> Ready | None:
            started = claim.start(tx, bell.task_id, bell.token, self._worker, self._clock.now())
            return None if started is None else self._work.ready(tx, started)

        return _Beginning(hand, bell, begin)

    def _finish(self, step: StepRow, end: End, goes_on: bool, tx: EngineTx) -> _Ended:
        """Stores the end of a step; what its hand goes on with is begun with it."""
        now = self._clock.now()
        if not end(tx, now):
            return False, None, []
        if not goes_on or self.closing.is_set():
            return True, None, claim.follow(tx, step, now)
        started, doorbells = claim.go_on(tx, step, self._worker, now)
        return True, None if started is None else self._work.ready(tx, started), doorbells

    # -- by the thread that writes ----------------------------------------------------------------

    def _before(self, changes: Sequence[_Beginning | _Ending]) -> None:
        beginnings = [one for one in changes if isinstance(one, _Beginning)]
        endings = [one for one in changes if isinstance(one, _Ending)]
        for some, call in ((beginnings, self._calls.look), (endings, self._calls.flush)):
            if some:
                try:
                    call()
                except Exception as error:  # noqa: BLE001 - told to these; a ledger that is behind stops no beginning
                    for one in some:
                        one.error = error

    def _after(self, changes: Sequence[_Beginning | _Ending]) -> None:
        begun: list[tuple[_Hand, Ready]] = []
        free: list[_Hand] = []
        doorbells: list[Doorbell] = []
        for one in changes:
            if isinstance(one, _Beginning):
                ready = self._begun(one)
            elif isinstance(one.error, Unavailable) and self._again(one):
                continue
            else:
                ready = self._ended(one, doorbells)
            if ready is None:
                free.append(one.hand)
            else:
                begun.append((one.hand, ready))
        if begun:
            self._on_loop(self._begin, begun)
        try:
            self._ring(doorbells)
            if any(isinstance(one, _Ending) and one.within and one.error is None for one in changes):
                self._tell_ends()
        finally:  # whatever becomes of others, these have their places back
            for hand in free:
                self._free(hand)
            self._admit()

    def _begun(self, one: _Beginning) -> Ready | None:
        if one.error is not None:
            _log.error("a step could not be begun; the sweep will ring for it again", exc_info=one.error)
            return None
        ready: Ready | None = one.value
        if ready is None:
            _log.debug("doorbell for %s is stale", one.what.task_id)
        one.hand.until = time.monotonic() + _GO_ON_SECONDS
        return ready

    def _ended(self, one: _Ending, doorbells: list[Doorbell]) -> Ready | None:
        if one.error is not None:
            told = "the end of step %s could not be stored; the sweep will run it again"
            _log.error(told, one.what.task_id, exc_info=None if isinstance(one.error, Unavailable) else one.error)
            return None
        ended, ready, others = one.value  # of ``_finish``
        if not ended:
            _log.warning("step %s ended here, but was another's by then; its result is dropped", one.what.task_id)
        doorbells += others
        one.hand.tried_until, one.hand.pause = 0.0, 0.1
        goes_on: Ready | None = ready
        return goes_on

    def _again(self, one: _Ending) -> bool:
        """The end is tried once more after a while; false where it was tried for long enough."""
        hand, now = one.hand, time.monotonic()
        hand.tried_until = hand.tried_until or now + _FINISH_SECONDS
        if now > hand.tried_until or self.closing.is_set():
            return False
        one.error = None
        self._on_loop(self._loop.call_later, hand.pause, self._together.put, [one])
        hand.pause = min(hand.pause * 2, 2.0)
        return True

    def _ring(self, doorbells: Sequence[Doorbell]) -> None:
        if self._executor is not None and doorbells:
            self._executor.ring(doorbells)

    def _tell_ends(self) -> None:
        if self._executor is not None:
            with contextlib.suppress(Unavailable):  # the next sweep does it
                children.tell_ends(self._store, self._executor, self._clock.now())

    def _on_loop(self, call: Callable[..., object], *given: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: what was begun is left to the sweep
            self._loop.call_soon_threadsafe(call, *given)
