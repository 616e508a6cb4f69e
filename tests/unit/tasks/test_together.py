"""Changes of several steps in one transaction: what goes together, and what becomes of the others if one fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.engine.rows import Doorbell
from gateway.errors import Unavailable
from gateway.tasks.together import Change, Together


class Done(list[str]):
    """A transaction: what was done in it, and what was expected of it before."""

    def expect(self, steps: Sequence[Any]) -> None:
        assert not self
        self.expected = list(steps)


class Store:
    """Counts transactions; the first waits for ``go``, so that the others gather."""

    writers = 1

    def __init__(self) -> None:
        self.committed: list[Done] = []
        self.go = threading.Event()
        self.begun = threading.Event()
        self.away = False

    @contextmanager
    def begin(self) -> Iterator[Any]:
        done = Done()
        self.begun.set()
        assert self.go.wait(10)
        if self.away:
            raise Unavailable("the database does not answer")
        yield done
        self.committed.append(done)

    def writer(self) -> Store:
        return self

    def close(self) -> None:
        """Its threads end."""

    def read(self) -> Any:
        raise AssertionError("nothing is only read here")


def wish(name: str, *, bad: bool = False) -> Change:
    """Notes its name in the transaction, and gives it in capitals."""

    def work(tx: Any) -> str:
        if bad:
            raise KeyError(name)
        tx.append(name)
        return name.upper()

    return Change(Doorbell(name, 1, "cpu", 5, f"run-{name}"), work)


class Outcomes(dict[str, Any]):
    """What came of each, as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Semaphore(0)

    def note(self, changes: Sequence[Change]) -> None:
        for one in changes:
            self[one.what.task_id] = one.error or one.value
            self.told.release()

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.told.acquire(timeout=10)


def nothing(_changes: Sequence[Change]) -> None:
    """There is nothing to do before."""


def gathered(store: Store, names: list[str], bad: str = "") -> dict[str, Any]:
    """What comes of a transaction for each name, the first of which is under way until the others wait."""
    outcomes = Outcomes()
    together = Together[Change](store, nothing, outcomes.note)
    together.put([wish(names[0])])
    assert store.begun.wait(10)
    for name in names[1:]:
        together.put([wish(name, bad=name == bad)])
    store.go.set()
    outcomes.wait(len(names))
    together.close(10)
    return outcomes


def test_those_that_wait_go_together() -> None:
    store = Store()
    assert gathered(store, ["first", "c", "a", "b"]) == {"first": "FIRST", "c": "C", "a": "A", "b": "B"}
    assert store.committed == [["first"], ["c", "a", "b"]]
    assert [[one.task_id for one in done.expected] for done in store.committed] == store.committed


def test_one_that_fails_takes_nobody_with_it() -> None:
    store = Store()
    found = gathered(store, ["first", "c", "bad", "b"], bad="bad")
    assert isinstance(found.pop("bad"), KeyError)
    assert found == {"first": "FIRST", "c": "C", "b": "B"}
    assert store.committed == [["first"], ["c"], ["b"]]


def test_a_database_that_is_away_is_told_to_all() -> None:
    store = Store()
    store.away = True
    found = gathered(store, ["first", "a", "b"])
    assert [type(error) for error in found.values()] == [Unavailable] * 3
    assert store.committed == []


def test_what_cannot_be_prepared_is_told_to_all_and_nothing_is_begun() -> None:
    def behind(_changes: Sequence[Change]) -> None:
        raise Unavailable("the ledger is behind")

    store, outcomes = Store(), Outcomes()
    together = Together[Change](store, behind, outcomes.note)
    together.put([wish("a"), wish("b")])
    outcomes.wait(2)
    together.close(10)
    assert [type(error) for error in outcomes.values()] == [Unavailable] * 2
    assert not store.begun.is_set()


def test_one_whose_outcome_cannot_be_told_stops_nobody() -> None:
    store, outcomes = Store(), Outcomes()
    store.go.set()

    def tell(changes: Sequence[Change]) -> None:
        outcomes.note(changes)
        if "bad" in [one.what.task_id for one in changes]:
            raise KeyError("bad")

    together = Together[Change](store, nothing, tell)
    together.put([wish("bad")])
    outcomes.wait(1)
    together.put([wish("good")])
    outcomes.wait(1)
    together.close(10)
    assert outcomes == {"bad": "BAD", "good": "GOOD"}


def test_what_was_put_is_written_before_it_closes() -> None:
    store, outcomes = Store(), Outcomes()
    together = Together[Change](store, nothing, outcomes.note)
    together.put([wish("a")])
    assert store.begun.wait(10)
    together.put([wish("b")])
    threading.Timer(0.05, store.go.set).start()
    together.close(10)
    assert outcomes == {"a": "A", "b": "B"}


@pytest.mark.parametrize("writers", [1, 3])
def test_everything_is_done_once(writers: int) -> None:
    store, outcomes = Store(), Outcomes()
    store.writers = writers
    store.go.set()
    together = Together[Change](store, nothing, outcomes.note)
    names = [f"{number:04}" for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: together.put([wish(name)]), names))
    outcomes.wait(400)
    together.close(10)
    assert outcomes == {name: name.upper() for name in names}
    assert sorted(name for done in store.committed for name in done) == names


def test_those_that_may_not_be_made_keep_nobody_from_it() -> None:
    def refuse(changes: Sequence[Change]) -> None:
        for one in changes:
            if one.what.task_id == "bad":
                one.error = Unavailable("not this one")

    store, outcomes = Store(), Outcomes()
    store.go.set()
    together = Together[Change](store, refuse, outcomes.note)
    together.put([wish("bad"), wish("good")])
    outcomes.wait(2)
    together.close(10)
    assert outcomes.pop("good") == "GOOD"
    assert isinstance(outcomes["bad"], Unavailable)
    assert store.committed == [["good"]]


def test_a_writer_that_waits_for_a_run_of_another_ends_with_it() -> None:
    store, outcomes = Store(), Outcomes()
    store.writers = 2
    together = Together[Change](store, nothing, outcomes.note)
    together.put([wish("a")])
    assert store.begun.wait(10)
    together.put([wish("a")])
    threading.Timer(0.1, store.go.set).start()
    together.close(5)
    assert not any(thread.is_alive() for thread in together._threads)
