"""Transactions of several threads as one: what is committed together, and what becomes of the others if one fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.engine.rows import Doorbell
from gateway.errors import Unavailable
from gateway.tasks.together import Together


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

    def read(self) -> Any:
        raise AssertionError("nothing is only read here")


def bell(name: str) -> Doorbell:
    return Doorbell(name, 1, "cpu", 5, f"run-{name}")


def gathered(store: Store, names: list[str], bad: str = "") -> dict[str, Any]:
    """What comes of a transaction for each name, the first of which is under way until the others wait."""
    together, outcomes = Together(store), dict[str, Any]()
    waiting = threading.Semaphore(0)

    def work(name: str) -> None:
        def change(tx: Any) -> str:
            if name == bad:
                raise KeyError(name)
            tx.append(name)
            return name.upper()

        waiting.release()
        try:
            outcomes[name] = together.do(bell(name), change)
        except Exception as error:  # noqa: BLE001 - it is looked at below
            outcomes[name] = error

    with ThreadPoolExecutor(len(names)) as pool:
        pool.submit(work, names[0])
        assert store.begun.wait(10)
        for name in names[1:]:
            pool.submit(work, name)
        for _ in names:
            assert waiting.acquire(timeout=10)
        while len(together._waiting) < len(names) - 1:
            threading.Event().wait(0.001)
        store.go.set()
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


@pytest.mark.parametrize("writers", [1, 3])
def test_everything_is_done_once(writers: int) -> None:
    store = Store()
    store.writers = writers
    store.go.set()
    together = Together(store)

    def work(name: str) -> str:
        def change(tx: Any) -> str:
            tx.append(name)
            return name

        return together.do(bell(name), change)

    with ThreadPoolExecutor(8) as pool:
        names = [f"{number:04}" for number in range(400)]
        assert list(pool.map(work, names)) == names
    assert sorted(name for done in store.committed for name in done) == names
