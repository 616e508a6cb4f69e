"""Processes that hand requests to providers are killed outright: no money and no share of a budget is lost."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from fixtures.batch_money_kit import SET_ASIDE, money_over, settled, work
from fixtures.ledger_house import House
from fixtures.money_kit import open_database
from gateway.clock import SystemClock
from gateway.store.engine import Database
from gateway.store.provider_batch_store import SqlProviderBatchStore

KILLS, BETWEEN = 8, 60


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    return str(request.getfixturevalue("postgres_url"))


def test_no_share_is_lost_whoever_is_killed(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    house = House(database, tmp_path)
    house.clock.time = SystemClock().now()
    caps = [house.budget("100000", *where, "lifetime") for where in (("gateway", "*"), ("key", "key-a"))]
    nursery = multiprocessing.get_context("forkserver")
    nursery.set_forkserver_preload(["fixtures.batch_money_kit"])
    for number in range(KILLS):
        before = house.count("batch_ask")
        workers = [
            nursery.Process(target=work, args=(url, tmp_path, f"p{number}_{twin}"), daemon=True) for twin in range(2)
        ]
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + 60
        while house.count("batch_ask") < before + BETWEEN:
            assert time.monotonic() < deadline, "they came to a stop"
            time.sleep(0.01)
        for worker in workers:
            worker.kill()
            worker.join()
        _adds_up(house, caps)
    _end_the_rest(database, house, tmp_path)
    assert _undone(house) == 0
    _adds_up(house, caps)
    assert house.count("budget_lease") == 0
    database.close()


def _adds_up(house: House, caps: list[str]) -> None:
    house.store.recover()
    house.whole()
    with house.database.read() as connection:
        rows = connection.execute(text("SELECT hold_id, cost FROM entry")).all()
        told = connection.execute(text("SELECT hold_id, cost FROM batch_ask WHERE state = 'done' AND cost > 0")).all()
    assert len(rows) == len({row.hold_id for row in rows}), "each request once"
    assert {(row.hold_id, row.cost) for row in rows} == {(row.hold_id, row.cost) for row in told}
    for budget in caps:
        assert house.state(budget) == (sum(row.cost for row in rows), _undone(house) * SET_ASIDE)


def _undone(house: House) -> int:
    with house.database.read() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM batch_ask WHERE state != 'done'")) or 0)


def _end_the_rest(database: Database, house: House, folder: Path) -> None:
    """Whoever takes over ends what those before have left."""
    money, store = money_over(database, folder, house.clock), SqlProviderBatchStore(database, house.clock)
    with database.read() as connection:
        left = list(connection.scalars(text("SELECT ask_id FROM batch_ask WHERE state != 'done'")))
    assert left, "those that were killed left something"
    for name in left:
        ask = store.named(name)
        assert ask is not None
        money.end(ask, settled(ask, SET_ASIDE // 2, house.clock.now()))
