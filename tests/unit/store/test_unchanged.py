"""What was read is kept only while nobody can have written since."""

from __future__ import annotations

import time
from pathlib import Path

from fixtures.money_kit import open_database
from gateway.store.engine import Database, next_value
from gateway.store.unchanged import Unchanged


class Asked:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def test_an_old_journal_is_not_asked_twice() -> None:
    ask, stamps = Asked(), [(1, 10)]
    kept = Unchanged(lambda: stamps[-1])
    assert [kept.of(ask), kept.of(ask)] == [1, 1]
    stamps.append((1, 20))
    assert [kept.of(ask), kept.of(ask)] == [2, 2]
    stamps.append((2, 20))
    assert kept.of(ask) == 3


def test_a_journal_of_this_moment_proves_nothing() -> None:
    ask, now = Asked(), time.time_ns()
    kept = Unchanged(lambda: (now, 10))
    assert [kept.of(ask), kept.of(ask)] == [1, 2]


def test_without_a_journal_it_is_always_asked() -> None:
    for nothing in (None, (0, 0)):
        ask = Asked()
        kept = Unchanged(lambda nothing=nothing: nothing)  # type: ignore[misc]
        assert [kept.of(ask), kept.of(ask)] == [1, 2]


def test_a_write_of_another_process_is_seen(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    ours, theirs = open_database(url), Database(url)
    kept = Unchanged(ours.stamp)
    for number in range(1, 6):
        with theirs.begin() as connection:
            next_value(connection, "told")
        with ours.read() as connection:
            found = kept.of(lambda: int(connection.exec_driver_sql("SELECT value FROM counter").scalar() or 0))
        assert found == number
    ours.close()
    theirs.close()
