"""The pulse of a step loses no progress: what the database has not taken is told again, or is still untold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.transport_kit import until
from gateway.clock import SystemClock
from gateway.engine import claim
from gateway.errors import Unavailable
from gateway.tasks.step_pulse import Pulse

NEWS = (0.1, "the request is with its provider")


class Store:
    """A database that answers when ``gate`` is open, and is away the first ``away`` times."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.away = 0
        self.wanted = True

    @contextmanager
    def read(self) -> Iterator[Any]:
        yield SimpleNamespace(unwanted=lambda _step: not self.wanted)

    @contextmanager
    def begin(self) -> Iterator[Any]:
        self.asked.set()
        assert self.gate.wait(20)
        if self.away:
            self.away -= 1
            raise Unavailable("the database is away")
        yield None


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = []

    def progress(_tx: Any, _run: Any, _step: Any, fraction: float, note: str, _now: int) -> bool:
        found.append((fraction, note))
        return True

    monkeypatch.setattr(claim, "progress", progress)
    return found


def pulse_of(store: Store) -> Pulse:
    step = SimpleNamespace(task_id="task_1", spec=SimpleNamespace(soft_timeout=None))
    return Pulse(cast(Any, store), cast(Any, None), cast(Any, step), SystemClock())


def test_progress_whose_telling_is_cut_short_is_untold(store: Store, told: list[tuple[float, str]]) -> None:
    """A handler says where it is and ends its attempt: the pulse is ended while it tells the database."""

    async def work() -> None:
        pulse = pulse_of(store)
        beat = asyncio.create_task(pulse.beat())
        pulse.report(*NEWS)
        await asyncio.to_thread(store.asked.wait, 20)
        beat.cancel()
        await asyncio.wait({beat})
        assert pulse.untold == NEWS
        store.gate.set()

    asyncio.run(work())


def test_progress_that_the_database_did_not_take_is_told_again(store: Store, told: list[tuple[float, str]]) -> None:
    async def work() -> None:
        pulse = pulse_of(store)
        store.away = 1
        store.gate.set()
        beat = asyncio.create_task(pulse.beat())
        pulse.report(*NEWS)
        await until(lambda: bool(told) and pulse.untold is None)
        beat.cancel()
        await asyncio.wait({beat})

    asyncio.run(work())
    assert told == [NEWS]


def test_news_that_come_while_the_last_are_told_are_not_lost(store: Store, told: list[tuple[float, str]]) -> None:
    async def work() -> None:
        pulse = pulse_of(store)
        beat = asyncio.create_task(pulse.beat())
        pulse.report(*NEWS)
        await asyncio.to_thread(store.asked.wait, 20)
        pulse.report(0.2, "more")
        store.gate.set()
        await until(lambda: pulse.untold is None)
        beat.cancel()
        await asyncio.wait({beat})

    asyncio.run(work())
    assert told == [NEWS, (0.2, "more")]


def test_a_step_that_nobody_wants_hears_of_it_long_before_its_next_heartbeat(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 1e6)

    async def work() -> None:
        pulse = pulse_of(store)
        beat = asyncio.create_task(pulse.beat())
        store.wanted = False
        await asyncio.wait_for(beat, 20)
        assert pulse.is_cancelled()
        assert not pulse.fenced

    asyncio.run(work())


def test_what_cannot_be_told_does_not_end_the_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def progress(_tx: Any, _run: Any, _step: Any, _fraction: float, note: str, _now: int) -> bool:
        told.append(note)
        if note == "bad":
            raise ValueError("the database cannot keep this")
        return True

    monkeypatch.setattr(claim, "progress", progress)

    async def work() -> None:
        pulse = pulse_of(store)
        store.gate.set()
        beat = asyncio.create_task(pulse.beat())
        pulse.report(0.1, "bad")
        await until(lambda: told == ["bad"] and pulse.untold is None)
        pulse.report(0.2, "good")
        await until(lambda: told == ["bad", "good"])
        assert not beat.done()
        assert not pulse.is_cancelled()
        beat.cancel()
        await asyncio.wait({beat})

    asyncio.run(work())
