"""Money under many processes at once, on SQLite and on PostgreSQL: no cap is passed, and nearly all is usable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.ledger_house import House
from fixtures.money_kit import open_database
from fixtures.money_worker import TEAMS
from gateway.clock import SystemClock
from gateway.ledger.entry import UsageFilter
from gateway.money import units
from gateway.security.audit import AuditLog
from gateway.store.audit_store import SqlAuditSink

TESTS = Path(__file__).resolve().parents[1]
PROCESSES, CLIENTS = 4, 200


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    return str(request.getfixturevalue("postgres_url"))


def run_workers(role: str, url: str, folder: Path, count: int, amount: int) -> list[Any]:
    """What each of the processes, all running at once, says at its end."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}
    script = str(TESTS / "fixtures" / "money_worker.py")
    started = [
        subprocess.Popen(
            [sys.executable, script, role, url, str(folder), f"p{number}", str(count), str(amount)],
            stdout=subprocess.PIPE,
            env=environment,
        )
        for number in range(PROCESSES)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES
    return [json.loads(output) for output in outputs]


def test_many_clients_of_many_processes_never_pass_a_cap_and_use_it(url: str, tmp_path: Path) -> None:
    """P1: a cap on the whole gateway, one on each team and one on a key, all at once."""
    database = open_database(url)
    house = House(database, tmp_path)
    house.clock.time = SystemClock().now()
    caps = {
        house.budget(limit, scope, subject, "lifetime"): (limit, scope, subject)
        for limit, scope, subject in (
            ("1", "gateway", "*"),
            ("0.5", "team", "red"),
            ("0.7", "team", "blue"),
            ("0.2", "key", "key-a"),
        )
    }
    workers = run_workers("spend", url, tmp_path, CLIENTS, units("0.003"))
    billed = {key: sum(worker[key] for worker in workers) for key in TEAMS}
    assert all(sum(worker.values()) for worker in workers), "each of them had its part"
    paid = {row.group["key_id"]: row.cost for row in house.ledger.summary(by=("key_id",))}
    assert paid == billed, "the ledger is what was billed"
    for budget, (limit, scope, subject) in caps.items():
        mine = sum(
            cost
            for key, cost in billed.items()
            if scope == "gateway" or (scope, subject) in (("key", key), ("team", TEAMS[key]))
        )
        spent, reserved = house.state(budget)
        assert spent == mine <= units(limit), (scope, subject)
        assert reserved == 0, "no phantom is left"
        if (scope, subject) != ("team", "blue"):  # its cap is above what the gateway's leaves it
            assert spent >= 0.95 * units(limit), (scope, subject, spent)
    assert house.journals() == []
    assert (house.count("budget_lease"), house.count("journal_mark")) == (0, 0)
    (total,) = house.ledger.summary(UsageFilter())
    assert total.cost == sum(billed.values())
    house.whole()
    database.close()


def test_audit_chain_of_many_processes_has_no_gap(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    numbers = [number for numbers in run_workers("audit", url, tmp_path, 4, 15) for number in numbers]
    assert sorted(numbers) == list(range(1, PROCESSES * 4 * 15 + 1))
    report = AuditLog(SqlAuditSink(database), SystemClock()).verify()
    assert report.ok, report.problems
    assert report.records == len(numbers)
    database.close()
