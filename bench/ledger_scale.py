"""A large ledger: ``.venv/bin/python bench/ledger_scale.py``; ``--help`` names the options.

A year of calls is made in PostgreSQL by SQL, as the gateway would have entered them: entries, postings, balances
and sums of usage. Then questions about usage are asked, and the whole ledger is verified: how long each takes. The
database is a temporary one, with PostgreSQL's own settings, and is deleted at the end.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
from ledger_year import YEAR, fill
from sqlalchemy import func, select
from storm_town import Postgres
from verdict import Verdict

from gateway.clock import SECOND, SystemClock
from gateway.ledger.cost_tracker import Ledger
from gateway.ledger.entry import UsageFilter
from gateway.ledger.reconciling import InvoiceLines
from gateway.ledger.usage import UsageService
from gateway.ledger.usage_ask import UsageAsk
from gateway.store.engine import Database
from gateway.store.ledger_store import SqlLedgerStore
from gateway.store.migrate import upgrade
from gateway.store.tables import metadata
from gateway.store.usage_store import SqlUsageStore

#: Disk that an entry needs with all that goes with it, and while it is made.
_BYTES_AN_ENTRY = 2500
_DAY = 86_400 * SECOND
_TIMES = 3
_LONGEST_ANSWER, _LONGEST_CHECK = 1.0, 60.0


def questions(database: Database, clock: SystemClock) -> dict[str, Callable[[], object]]:
    """What is asked, by what it is called in the report."""
    usage, ledger = UsageService(SqlUsageStore(database), clock), Ledger(SqlLedgerStore(database), clock)
    now = clock.now()
    month = time.strftime("%Y-%m", time.gmtime((now - 40 * _DAY) / SECOND))

    def summary(*by: str, days: float = 0, **more: object) -> Callable[[], object]:
        since = int(now - days * _DAY) if days else None
        return lambda: usage.summary(UsageAsk(by, since=since, **more))  # type: ignore[arg-type]

    return {
        "all of it, one row": summary(),
        "by model": summary("model"),
        "by team and month": summary("team", "month"),
        "by key and model": summary("key_id", "model"),
        "by tag": summary("tag"),
        "by day": summary("day"),
        "by day, in Kolkata": summary("day", zone="Asia/Kolkata"),
        "by month, in New York": summary("month", zone="America/New_York"),
        "of one key, by day": summary("day", where={"key_id": "key-7"}),
        "of one team, by day, in Berlin": summary("day", where={"team": "team-3"}, zone="Europe/Berlin"),
        "the last 30 days, by team": summary("team", days=30),
        "the last 7 days, by hour": summary("hour", days=7),
        "the last 90 days, by hour": summary("hour", days=90),
        "the last 36 hours and 10 minutes, by model": summary("model", days=36 / 24 + 10 / 1440),
        "what was saved": lambda: usage.savings(UsageAsk()),
        "the forecast of the month": lambda: usage.forecast(UsageAsk()),
        "the invoices of a month": lambda: usage.invoices(month),
        "a provider's invoice of a month": lambda: usage.reconcile("openai", month, InvoiceLines({}, 0, True, {}), 0),
        "the newest 100 entries": lambda: ledger.entries(limit=100),
        "the newest 100 entries of one user": lambda: ledger.entries(UsageFilter(principal="user-7"), limit=100),
        "the entries of one request": lambda: ledger.entries(UsageFilter(request_id="req-4321"), limit=100),
        "the entries of a team that has none": lambda: ledger.entries(UsageFilter(team="nobody"), limit=100),
    }


def answered_in(question: Callable[[], object]) -> float:
    """Seconds, the longest of a few times."""
    longest = 0.0
    for _ in range(_TIMES):
        started = time.perf_counter()
        question()
        longest = max(longest, time.perf_counter() - started)
    return round(longest, 3)


def measure(folder: Path, number: int) -> Verdict:
    verdict, clock, postgres = Verdict(), SystemClock(), Postgres(folder / "pg")
    database = Database(postgres.url)
    try:
        upgrade(database)
        started = time.perf_counter()
        fill(database, number, clock.now() - YEAR)
        made = round(time.perf_counter() - started)
        verdict.figures = {"machine": machine.facts(), "entries": number, "made in, s": made, "rows": rows(database)}
        taken = {name: answered_in(question) for name, question in questions(database, clock).items()}
        verdict.figures["answered in, s"] = taken
        for name, seconds in taken.items():
            verdict.hold(seconds < _LONGEST_ANSWER, f"{name}: {seconds} s")
        started = time.perf_counter()
        report = Ledger(SqlLedgerStore(database), clock).verify()
        seconds = round(time.perf_counter() - started, 1)
        verdict.figures["verified in, s"] = seconds
        verdict.hold(report.ok and report.entries == number, f"{report.entries} entries: {report.problems[:3]}")
        verdict.hold(seconds < _LONGEST_CHECK, f"verified in {seconds} s")
    finally:
        database.close()
        postgres.stop()
    return verdict


def rows(database: Database) -> dict[str, Any]:
    """How many rows the tables have, and what all of them take on the disk, in MiB."""
    tables = ("entry", "posting", "usage_series", "usage_hour", "usage_day")
    with database.read() as connection:
        found = {name: connection.scalar(select(func.count()).select_from(metadata.tables[name])) for name in tables}
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return {**found, "MiB": size // 2**20}


def main(arguments: list[str]) -> int:
    """0 if everything was answered in time and the ledger is whole."""
    parser = argparse.ArgumentParser(prog="bench/ledger_scale.py", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--report", default="", help="a file for the report")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        free, needed = shutil.disk_usage(name).free, options.entries * _BYTES_AN_ENTRY
        if free < needed:
            parser.error(f"{options.entries} entries need {needed >> 30} GiB of disk, and {free >> 30} are free")
        verdict = measure(Path(name), options.entries)
    return verdict.tell(options.report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
