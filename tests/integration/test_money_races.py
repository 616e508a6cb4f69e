"""Money under many processes at once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.ledger_house import House
from fixtures.money_kit import open_database
from gateway.clock import SystemClock
from gateway.ledger.cost_tracker import Ledger
from gateway.ledger.entry import UsageFilter
from gateway.money import units
from gateway.security.audit import AuditLog
from gateway.store.audit_store import SqlAuditSink
from gateway.store.ledger_store import SqlLedgerStore

TESTS = Path(__file__).resolve().parents[1]
PROCESSES, THREADS = 4, 4


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.db'}"
    return str(request.getfixturevalue("postgres_url"))


def run_workers(role: str, url: str, amount: int) -> list[list[int]]:
    """What each of the processes, all running at once, was billed (or numbered)."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}
    script = str(TESTS / "fixtures" / "money_worker.py")
    started = [
        subprocess.Popen(
            [sys.executable, script, role, url, f"p{number}", str(THREADS), str(amount)],
            stdout=subprocess.PIPE,
            env=environment,
        )
        for number in range(PROCESSES)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES
    return [json.loads(output) for output in outputs]


def test_many_processes_never_pass_one_cap_and_use_it(url: str) -> None:
    database = open_database(url)
    house = House(database)
    house.clock.time = SystemClock().now()
    cap, worst_case = units("1"), units("0.02")
    budget = house.budget("1", window="lifetime")
    billed = run_workers("spend", url, worst_case)
    spent, reserved = house.state(budget)
    ledger = Ledger(SqlLedgerStore(database), SystemClock())
    (total,) = ledger.summary(UsageFilter())
    assert total.cost == spent == sum(map(sum, billed))
    assert total.calls == sum(map(len, billed))
    assert 0.95 * cap <= spent <= cap
    assert reserved == 0
    assert all(billed)
    report = ledger.verify()
    assert report.ok, report.problems
    database.close()


def test_audit_chain_of_many_processes_has_no_gap(url: str) -> None:
    database = open_database(url)
    numbers = [number for numbers in run_workers("audit", url, 15) for number in numbers]
    assert sorted(numbers) == list(range(1, PROCESSES * THREADS * 15 + 1))
    report = AuditLog(SqlAuditSink(database), SystemClock()).verify()
    assert report.ok, report.problems
    assert report.records == len(numbers)
    database.close()
