"""The ledger's speed: ``.venv/bin/python bench/ledger_speed.py``; ``--help`` names the options.

Calls are opened and settled with budgets at four levels, as the hot path does it: the CPU time of an append to the
journal, and of a whole call. Then they are brought into PostgreSQL as ever: entries, postings, balances, budgets,
sums of usage and audit records; how many a second, and whose CPU time it took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
from storm_town import Postgres
from verdict import Verdict

from gateway.clock import SystemClock
from gateway.errors import BudgetExceeded
from gateway.ledger.budgets import BudgetService
from gateway.ledger.calls import CallLedger, Started
from gateway.ledger.cost_tracker import Ledger
from gateway.ledger.entry import Charge
from gateway.ledger.intents import Done, Opened, encode_line
from gateway.models.llm_models import Usage
from gateway.security.access import caller_for
from gateway.store.audit_witness import FileWitness
from gateway.store.budget_leases import SqlBudgetLeases
from gateway.store.budget_store import SqlBudgetStore
from gateway.store.call_book import SqlCallBook
from gateway.store.engine import Database
from gateway.store.journal_file import JournalFile
from gateway.store.ledger_store import SqlLedgerStore
from gateway.store.migrate import upgrade

_WORST, _COST = 2_000_000, 1_234_567
_USAGE = Usage(input_tokens=57, output_tokens=20, basis="provider")
_CARD = "configured 2026-01-01 (benchmark)"


class Gathered:
    """A book that only gathers: what is brought in is measured by itself, later."""

    def __init__(self) -> None:
        self.calls: list[Done] = []

    @property
    def waiting(self) -> int:
        return 0

    def take(self, done: Done) -> None:
        self.calls.append(done)

    def flush(self) -> None:
        """Nothing is brought in here."""

    def close(self) -> bool:
        return True


def charge_of(number: int) -> Charge:
    """Twenty keys of five users in three teams, and three models."""
    key, model = number % 20, f"model-{number % 3}"
    user, team = f"user-{key % 5}", f"team-{key % 3}"
    name = f"req-{number}"
    return Charge(name, "llm", user, model, "bench", name, f"key-{key}", team, model, None, None, None, "7fc37178ca4c")


def append(folder: Path, number: int) -> dict[str, float]:
    """Microseconds of CPU time of this thread for one line: made and written, and written only."""
    journal = JournalFile(folder)
    opened = [
        Opened(f"hold_{at:026}", at, _WORST, _CARD, "openai", charge_of(at), ("budget_a",) * 4) for at in range(number)
    ]
    try:
        started = time.thread_time_ns()
        for record in opened:
            journal.write(encode_line(record), opens=True)
        made = time.thread_time_ns() - started
        line = encode_line(opened[0])
        started = time.thread_time_ns()
        for _ in range(number):
            journal.write(line, opens=True)
        written = time.thread_time_ns() - started
    finally:
        journal.close()
    return {"encoded and appended": round(made / number / 1000, 2), "appended": round(written / number / 1000, 2)}


def budgets(database: Database, clock: SystemClock, calls: CallLedger) -> None:
    service, admin = BudgetService(SqlBudgetStore(database), clock, calls), caller_for("bench", "admin")
    subjects = [("gateway", "*"), *(("team", f"team-{at}") for at in range(3))]
    subjects += [*(("user", f"user-{at}") for at in range(5)), *(("model", f"model-{at}") for at in range(3))]
    for scope, subject in subjects:
        service.create(admin, {"scope": scope, "subject": subject, "limit_usd": "1000000", "window": "month"})


def whole_calls(calls: CallLedger, number: int) -> float:
    """Microseconds of CPU time of this thread for a call that is opened and settled."""
    charges = [charge_of(at) for at in range(number)]
    started = time.thread_time_ns()
    for charge in charges:
        while (opened := calls.open(charge, _WORST, _CARD, "openai")) is None:
            refused: BudgetExceeded | None = calls.grow(charge, _WORST)
            if refused is not None:
                raise refused
        calls.settle(opened, cost=_COST, usage=_USAGE)
    return round((time.thread_time_ns() - started) / number / 1000, 2)


def drain(book: SqlCallBook, calls: list[Done], postgres_cpu: Callable[[], float]) -> dict[str, float]:
    """What it takes until all of them are in the ledger."""
    cpu, theirs, started = time.process_time(), postgres_cpu(), time.perf_counter()
    for done in calls:
        book.take(done)
    book.flush(seconds=600)
    seconds = time.perf_counter() - started
    mine, theirs = time.process_time() - cpu, postgres_cpu() - theirs
    return {
        "entries/s": round(len(calls) / seconds),
        "seconds": round(seconds, 2),
        "gateway CPU, µs an entry": round(mine * 1e6 / len(calls), 1),
        "PostgreSQL CPU, µs an entry": round(theirs * 1e6 / len(calls), 1),
    }


def measure(folder: Path, number: int) -> Verdict:
    verdict, clock, postgres = Verdict(), SystemClock(), Postgres(folder / "pg")
    database = Database(postgres.url)
    try:
        upgrade(database)
        gathered, journal = Gathered(), JournalFile(folder / "journal")
        leases = SqlBudgetLeases(database, journal.name)
        calls = CallLedger(lambda _tick: Started(journal, leases, gathered, lambda _all: None), clock)
        budgets(database, clock, calls)
        calls.flush()
        verdict.figures = {
            "machine": machine.facts(),
            "entries": number,
            "journal, CPU µs a line": append(folder / "other", number),
            "a call opened and settled, budgets at four levels, CPU µs": whole_calls(calls, number),
        }
        witness = FileWitness(folder / "audit", b"k" * 32)
        book = SqlCallBook(database, journal, witness, threshold=None, alerted=lambda *_: None, tick=lambda: None)
        server = postgres.pid
        verdict.figures["drain"] = drain(book, gathered.calls, lambda: machine.cpu_seconds(machine.tree(server)))
        verdict.hold(book.close(), "not everything was brought in")
        calls.close()
        started = time.perf_counter()
        report = Ledger(SqlLedgerStore(database), clock).verify()
        verdict.figures["verified in, s"] = round(time.perf_counter() - started, 2)
        verdict.hold(report.ok and report.entries == number, f"{report.entries} entries: {report.problems[:3]}")
    finally:
        database.close()
        postgres.stop()
    return verdict


def main(arguments: list[str]) -> int:
    """0 if the ledger is whole; speed is told, not judged."""
    parser = argparse.ArgumentParser(prog="bench/ledger_speed.py", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--report", default="", help="a file for the report")
    options, _ = parser.parse_known_args(arguments)  # `make bench` hands on what is meant for the other
    with tempfile.TemporaryDirectory(prefix="ledger-") as name:
        verdict = measure(Path(name), options.entries)
    return verdict.tell(options.report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
