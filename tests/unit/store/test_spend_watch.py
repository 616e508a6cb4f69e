"""An hour whose spending is far above the usual is told once, for the gateway, a team and a key."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from fixtures.ledger_house import House
from fixtures.money_kit import DAY, NOON, SECOND, open_database
from gateway.ledger.anomaly import Anomaly
from gateway.money import units
from gateway.store.engine import Database
from gateway.store.rerate_store import SqlRerateStore
from gateway.store.spend_watch import SpendWatch


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


def test_an_unusual_hour_is_told_once(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path)
    told: list[Anomaly] = []

    def watch() -> int:
        made = SpendWatch(database, house.clock, told.append, factor=Decimal(3), minimum=units("1"))
        return made.sweep()

    for day in range(5):
        house.clock.time = NOON - (5 - day) * DAY
        house.call(f"usual-{day}", "2")
    house.clock.time = NOON
    house.call("today", "5")
    house.call("quants", "0.5", team="quants", key_id="key-q")
    house.calls.flush()
    assert watch() == 0, "not above three times"
    paid = house.call("paid", "0.1")
    house.calls.flush()
    fields = {"entry_id": "entry_put_right", "cause": "put right", "kind": "correction", "cost": units("90")}
    SqlRerateStore(database).book([replace(paid, **fields)])
    assert watch() == 0, "a correction is no spending of the hour it is booked in"
    house.call("more", "5")
    house.call("many", "9", team="quants", key_id="key-q")
    house.calls.flush()
    assert watch() == 5
    assert watch() == 0, "once an hour"
    found = {(item.scope, item.subject): (item.spent, item.usual) for item in told}
    assert found == {
        ("gateway", "*"): (units("19.6"), units("2")),
        ("team", "risk"): (units("10.1"), units("2")),
        ("key", "key-a"): (units("10.1"), units("2")),
        ("team", "quants"): (units("9.5"), 0),
        ("key", "key-q"): (units("9.5"), 0),
    }
    assert {item.hour for item in told} == {NOON // SECOND // 3600}
    house.calls.close()
