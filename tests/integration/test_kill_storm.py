"""P2: processes are killed outright, again and again, at a high rate of calls; the ledger is what was billed."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from sqlalchemy import text

from fixtures.ledger_house import House
from fixtures.money_kit import open_database
from fixtures.storm_worker import CLIENTS, SET_ASIDE, work
from gateway.clock import SystemClock

PROCESSES, KILLS, CALLS_BETWEEN = 3, 20, 700


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    return str(request.getfixturevalue("postgres_url"))


class Storm:
    """Processes that make calls, one replaced for each that is killed."""

    def __init__(self, url: str, folder: Path) -> None:
        self.provider = folder / "provider"
        self._arguments = url, folder
        # Each is forked from one that has read the code and done nothing.
        self._nursery = multiprocessing.get_context("forkserver")
        self._nursery.set_forkserver_preload(["fixtures.storm_worker"])
        self._alive: list[BaseProcess] = []
        self._started = 0
        self._chance = random.Random(7)

    def start(self) -> None:
        self._started += 1
        process = self._nursery.Process(target=work, args=(*self._arguments, f"p{self._started}"), daemon=True)
        process.start()
        self._alive.append(process)

    def kill(self) -> None:
        """One of them, in the midst of whatever it does."""
        time.sleep(0.05 * self._chance.random())  # not always just after a call
        victim = self._alive.pop(self._chance.randrange(len(self._alive)))
        assert victim.is_alive(), "it ended by itself"
        victim.kill()
        victim.join()

    def billed(self) -> dict[str, int]:
        """What the provider did, by the id of the intent."""
        if not self.provider.exists():
            return {}
        lines = [line.split() for line in self.provider.read_text().splitlines()]
        return {hold: int(cost) for hold, cost in lines}

    def go_on(self, calls: int) -> None:
        """Returns when the provider has done so many more."""
        target, deadline = len(self.billed()) + calls, time.monotonic() + 60
        while len(self.billed()) < target:
            assert time.monotonic() < deadline, "calls came to a stop"
            time.sleep(0.01)

    def end(self) -> None:
        for process in self._alive:
            process.kill()
            process.join()


@contextmanager
def storm_over(url: str, folder: Path) -> Iterator[Storm]:
    storm = Storm(url, folder)
    try:
        yield storm
    finally:
        storm.end()


def test_no_billed_call_is_lost_whoever_is_killed(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    house = House(database, tmp_path)
    house.clock.time = SystemClock().now()
    caps = [house.budget("100000", *where, "lifetime") for where in (("gateway", "*"), ("key", "key-a"))]
    with storm_over(url, tmp_path) as storm:
        for _ in range(PROCESSES):
            storm.start()
        for _ in range(KILLS):
            storm.go_on(CALLS_BETWEEN)
            storm.kill()
            storm.start()
        storm.go_on(CALLS_BETWEEN)
    house.store.recover()
    billed = storm.billed()
    query = text("SELECT hold_id, cost, outcome FROM entry")
    with database.read() as connection:
        rows = connection.execute(query).all()
    entries = {row.hold_id: (row.cost, row.outcome) for row in rows}
    assert len(entries) == len(rows), "each call once"
    assert billed.keys() <= entries.keys(), "every call that was billed is in the ledger"
    ended = {hold: cost for hold, (cost, outcome) in entries.items() if outcome == "completed"}
    assert ended.items() <= billed.items(), "at what was billed"
    unresolved = {hold: cost for hold, (cost, outcome) in entries.items() if outcome == "unresolved"}
    assert ended.keys() | unresolved.keys() == entries.keys()
    assert set(unresolved.values()) <= {SET_ASIDE}
    assert len(unresolved) <= (KILLS + PROCESSES) * CLIENTS, "only what was under way"
    for budget in caps:
        assert house.state(budget) == (sum(row.cost for row in rows), 0), "no share is left with the dead"
    assert house.journals() == []
    assert (house.count("budget_lease"), house.count("journal_mark")) == (0, 0)
    house.whole()
    database.close()
