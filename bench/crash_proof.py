"""What must hold after a crash: what was seen at it against how the run ended."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from storm_far import READERS, Far
from verdict import Verdict

from gateway.clock import SystemClock
from gateway.ledger.cost_tracker import Ledger
from gateway.store.engine import Database
from gateway.store.ledger_store import SqlLedgerStore

#: Paid calls of a run by how many answers they stand behind, and steps and items that complete.
DEPTHS = {0: 1, 1: 3}
STEPS = 5

_UNANSWERED = """
SELECT count(*) FROM (SELECT DISTINCT task_id, request, number FROM step_call_begun) AS begun
LEFT JOIN step_call ON step_call.task_id = begun.task_id AND step_call.request = begun.request
  AND step_call.number = begun.number
WHERE step_call.task_id IS NULL
"""


@dataclass(frozen=True)
class Seen:
    """Just after a crash: whether the run had been accepted, whether it is there, the attempts of its steps that are
    done, and how many calls had been begun by others and have no answer that was kept."""

    accepted: bool
    runs: int
    done: dict[str, int]
    unanswered: int


def seen_in(url: str, accepted: bool) -> Seen:
    """Looks at what a dead process left."""
    with closing(Database(url)) as database, database.read() as connection:
        runs = connection.scalar(text("SELECT count(*) FROM run"))
        done = connection.execute(text("SELECT task_id, attempts FROM step WHERE state = 'completed'")).all()
        unanswered = connection.scalar(text(_UNANSWERED))
    return Seen(accepted, int(runs or 0), {str(name): int(attempts) for name, attempts in done}, int(unanswered or 0))


def prove(url: str, folder: Path, far: Far, run_id: str, question: str, seen: list[Seen]) -> Verdict:
    """After the last process has ended the run."""
    verdict = Verdict()
    with closing(Database(url)) as database:
        with database.read() as connection:

            def rows(query: str) -> list[Any]:
                return list(connection.execute(text(query)))

            _run(verdict, rows, run_id, question, seen)
            _events(verdict, rows)
            _money(verdict, rows, far, question, seen)
            _nothing_left(verdict, rows, folder)
        report = Ledger(SqlLedgerStore(database), SystemClock()).verify()
        verdict.hold(report.ok, f"ledger verify: {report.problems}")
    _webhooks(verdict, far, run_id)
    return verdict


def _run(verdict: Verdict, rows: Any, run_id: str, question: str, seen: list[Seen]) -> None:
    for at_crash in seen:
        verdict.hold(at_crash.runs == 1 or not at_crash.accepted, "a run that was accepted was not on the disk")
    runs = rows("SELECT run_id, status, output FROM run")
    verdict.hold([row[:2] for row in runs] == [(run_id, "completed")], f"the runs are {[tuple(row) for row in runs]}")
    output = json.loads(runs[0][2] or "{}") if runs else {}
    told = (output.get("first", {}).get("response"), output.get("end", {}).get("response"))
    verdict.hold(told == (f"{question}+", f"{question}++"), f"the run says {told}")
    items = [(item or {}).get("response") for item in output.get("many", {}).get("results", [])]
    verdict.hold(items == [f"{question}++"] * 2, f"the list says {items}")
    attempts = {str(task_id): int(number) for task_id, number in rows("SELECT task_id, attempts FROM step")}
    for at_crash in seen:
        again = [task_id for task_id, before in at_crash.done.items() if attempts[task_id] != before]
        verdict.hold(not again, f"completed steps were begun again: {again}")


def _events(verdict: Verdict, rows: Any) -> None:
    told = rows("SELECT id, task_id, type FROM event ORDER BY id")
    verdict.hold([row[0] for row in told] == list(range(1, len(told) + 1)), "the numbers of the events have gaps")
    kinds = Counter(kind for _, _, kind in told)
    ends = (kinds["workflow_started"], kinds["workflow_completed"], kinds["task_completed"])
    verdict.hold(ends == (1, 1, STEPS), f"begin, end, and ends of steps were told {ends} times")
    once = Counter(task_id for _, task_id, kind in told if kind == "task_completed")
    verdict.hold(all(number == 1 for number in once.values()), f"steps' ends were told {dict(once)} times")


def _money(verdict: Verdict, rows: Any, far: Far, question: str, seen: list[Seen]) -> None:
    """By what was asked: each step's answer is charged once; what the provider did besides is named."""
    outcomes = Counter(
        {str(name): int(number) for name, number in rows("SELECT outcome, count(*) FROM entry GROUP BY outcome")}
    )
    calls = {depth: far.calls[question + "+" * depth] for depth in DEPTHS}
    began, answered = sum(calls.values()), sum(far.answered[question + "+" * depth] for depth in DEPTHS)
    for depth, wanted in DEPTHS.items():
        verdict.hold(calls[depth] >= wanted, f"{calls[depth]} calls at depth {depth} for {wanted} steps")
    completed, unresolved = outcomes["completed"], outcomes["unresolved"]
    paid = sum(DEPTHS.values())
    verdict.hold(set(outcomes) <= {"completed", "unresolved"}, f"entries of another kind: {dict(outcomes)}")
    verdict.hold(paid <= completed <= answered, f"{completed} completed entries, {answered} answers, {paid} paid steps")
    verdict.hold(began <= completed + unresolved, f"{began} calls, {completed} entries and {unresolved} unresolved")
    again, unknown = began - paid, sum(at_crash.unanswered for at_crash in seen)
    verdict.hold(again <= unknown, f"{again} calls were made again, {unknown} had no answer that was kept")
    verdict.figures["made again"] = again


def _webhooks(verdict: Verdict, far: Far, run_id: str) -> None:
    names = [name for name in far.deliveries[READERS[0]] if far.told[name][1] == run_id]
    verdict.hold(len(names) == 1, f"the end of the run was told under {len(names)} ids")


def _nothing_left(verdict: Verdict, rows: Any, folder: Path) -> None:
    for what, query in (
        ("steps with a lease", "SELECT count(*) FROM step WHERE lease_until IS NOT NULL"),
        ("steps that are handed out", "SELECT count(*) FROM step WHERE state IN ('ready', 'queued', 'running')"),
        ("webhooks", "SELECT count(*) FROM webhook_delivery WHERE state <> 'delivered'"),
        ("leases of budgets", "SELECT count(*) FROM budget_lease"),
        ("marks of journals", "SELECT count(*) FROM journal_mark"),
    ):
        ((left,),) = rows(query)
        verdict.hold(int(left) == 0, f"{left} {what} are left")
    journals = [path.name for path in (folder / "data" / "journal").glob("*")]
    verdict.hold(not journals, f"journals are left: {journals}")
