"""What must hold when the storm is over, each found in SQL, in what the provider counted, and in what readers heard."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from storm_far import READERS, Far
from storm_readers import Reader
from storm_town import Town
from verdict import Verdict

#: Prompts of one run, by how many answers they stand behind, and how many paid steps and items ask each.
DEPTHS = {0: 1, 1: 5, 2: 1, 3: 1}
PAID = sum(DEPTHS.values())
#: The step that has items makes no call itself.
STEPS = PAID + 1

Rows = Callable[[str], list[Any]]


@dataclass(frozen=True)
class Standing:
    """How far everything has settled; ``said`` what is still under way."""

    said: dict[str, int]

    @property
    def settled(self) -> bool:
        return not any(self.said.values())

    @classmethod
    def of(cls, town: Town, far: Far, readers: list[Reader]) -> Standing:
        """As of now; where database or broker do not answer, that is what is under way."""
        try:
            ((entries, unsent, leases, latest),) = town.rows(
                "SELECT (SELECT count(*) FROM entry), "
                "(SELECT count(*) FROM webhook_delivery WHERE state <> 'delivered'), "
                "(SELECT count(*) FROM step WHERE lease_until IS NOT NULL), "
                "(SELECT coalesce(max(id), 0) FROM event)"
            )
            queued, _ = town.valkey.left()
        except (SQLAlchemyError, RedisError):
            return cls({"servers away": 1})
        return cls(
            {
                "calls not in the ledger": max(sum(far.calls.values()) - int(entries), 0),
                "webhooks not delivered": int(unsent),
                "leases": int(leases),
                "doorbells": queued,
                "readers behind": sum(not reader.heard(int(latest)) for reader in readers),
            }
        )


def prove(verdict: Verdict, town: Town, far: Far, readers: list[Reader], runs: dict[str, str]) -> None:
    """``runs``: the question of each run by its id. Everything has ended and been drained before."""
    _runs(verdict, town.rows, runs)
    _money(verdict, town.rows, far, runs)
    _events(verdict, town.rows, readers, runs)
    _webhooks(verdict, town.rows, far, runs)
    _nothing_left(verdict, town)
    for what in ("ledger", "audit"):
        done = town.command(what, "verify")
        verdict.hold(done.returncode == 0, f"{what} verify: {done.stdout[-500:]}{done.stderr[-500:]}")


def _runs(verdict: Verdict, rows: Rows, runs: dict[str, str]) -> None:
    states = Counter(state for (state,) in rows("SELECT status FROM run"))
    verdict.figures["runs"] = dict(states)
    verdict.hold(states == {"completed": len(runs)}, f"not every run completed: {dict(states)}, {len(runs)} given")
    outputs = dict(rows("SELECT run_id, output FROM run"))
    for run_id, question in runs.items():
        said = json.loads(outputs.get(run_id) or "{}")
        told = said.get("end", {}).get("response")
        verdict.hold(told == f"{question}++++", f"{run_id} says {told!r} of {question!r}")
        gathered = [(item or {}).get("response") for item in said.get("many", {}).get("results", [])]
        verdict.hold(gathered == [f"{question}++"] * 3, f"{run_id} gathered {gathered!r} of {question!r}")
    steps = Counter(state for (state,) in rows("SELECT state FROM step"))
    verdict.hold(steps == {"completed": STEPS * len(runs)}, f"not every step completed: {dict(steps)}")
    verdict.figures["steps and items"] = sum(steps.values())
    (lost,) = rows("SELECT coalesce(sum(lost), 0), coalesce(sum(attempts), 0) FROM step")
    verdict.figures |= {"leases lost": int(lost[0]), "attempts": int(lost[1])}


def _money(verdict: Verdict, rows: Rows, far: Far, runs: dict[str, str]) -> None:
    """The ledger of each run is what the provider counted of it, up to calls that are named as not completed."""
    entries: dict[str, Counter[str]] = defaultdict(Counter)
    for run_id, outcome, number in rows("SELECT run_id, outcome, count(*) FROM entry GROUP BY run_id, outcome"):
        entries[str(run_id)][str(outcome)] = int(number)
    outcomes: Counter[str] = sum(entries.values(), Counter())
    began, answered = _by_question(far.calls), _by_question(far.answered)
    verdict.figures |= {"calls the provider began": began.total(), "entries": dict(outcomes)}
    attempts = {
        str(run_id): int(number)
        for run_id, number in rows("SELECT run_id, coalesce(sum(attempts), 0) FROM step GROUP BY run_id")
    }
    for run_id, question in runs.items():
        completed, known = entries[run_id]["completed"], entries[run_id].total()
        calls, answers = began[question], answered[question]
        verdict.hold(completed >= PAID, f"{run_id}: {completed} completed entries for {PAID} paid steps")
        verdict.hold(completed <= answers, f"{run_id}: {completed} completed entries, {answers} answers: charged twice")
        verdict.hold(calls <= known, f"{run_id}: the provider began {calls} calls, the ledger knows {known}")
        tried = attempts.get(run_id, 0)
        verdict.hold(calls <= tried, f"{run_id}: {calls} calls in {tried} attempts: a completed step ran again")
    strange = set(began) - set(runs.values())
    verdict.hold(not strange, f"the provider was asked what nobody asked: {sorted(strange)[:3]}")
    nobody = set(entries) - set(runs)
    verdict.hold(not nobody, f"entries of runs that nobody gave: {sorted(nobody)[:3]}")
    verdict.figures["calls made again after a kill"] = began.total() - PAID * len(runs)


def _by_question(prompts: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for prompt, count in prompts.items():
        found[prompt.rstrip("+")] += count
    return found


def _events(verdict: Verdict, rows: Rows, readers: list[Reader], runs: dict[str, str]) -> None:
    told = rows("SELECT id, run_id, task_id, type FROM event ORDER BY id")
    ids = [int(row[0]) for row in told]
    verdict.figures["events"] = len(ids)
    verdict.hold(ids == list(range(1, len(ids) + 1)), "the numbers of the events have gaps")
    ends = Counter((run_id, kind) for _, run_id, _, kind in told)
    done: set[str] = set()
    again: set[str] = set()
    for _, _, task_id, kind in told:
        if task_id in done and kind in ("task_started", "task_retrying", "task_completed"):
            again.add(task_id)
        elif kind == "task_completed":
            done.add(task_id)
    verdict.hold(not again, f"{len(again)} completed steps were begun or ended again: {sorted(again)[:3]}")
    for run_id in runs:
        found = (ends[run_id, "workflow_completed"], ends[run_id, "task_completed"])
        verdict.hold(found == (1, STEPS), f"{run_id} told its end {found[0]} times, its steps' {found[1]} times")
    for number, reader in enumerate(readers):
        verdict.hold(reader.ids == sorted(set(reader.ids)), f"reader {number} heard an event twice or out of order")
        missing = set(ids) - set(reader.ids)
        verdict.hold(not missing, f"reader {number} missed {len(missing)} of {len(ids)} events")
    verdict.figures["readers' lines broken"] = sum(reader.lines_broken for reader in readers)


def _webhooks(verdict: Verdict, rows: Rows, far: Far, runs: dict[str, str]) -> None:
    """Each reader was told of the end of each run under one id, however often the message came."""
    states = {str(name): str(state) for name, state in rows("SELECT delivery_id, state FROM webhook_delivery")}
    unsent = [name for name, state in states.items() if state != "delivered"]
    verdict.hold(not unsent, f"{len(unsent)} webhooks were not delivered")
    heard = {name for taken in far.deliveries.values() for name in taken}
    verdict.hold(heard == set(states), "webhooks and their receivers do not agree")
    for reader in READERS:
        told = Counter(far.told[name] for name in far.deliveries[reader])
        wanted = Counter(("workflow_completion", run_id) for run_id in runs)
        verdict.hold(
            told == wanted,
            f"webhooks of {reader}: {(wanted - told).total()} missed, {(told - wanted).total()} too many",
        )
    verdict.figures |= {
        "webhooks": len(states),
        "webhooks that came again": sum(taken.total() - len(taken) for taken in far.deliveries.values()),
    }


def _nothing_left(verdict: Verdict, town: Town) -> None:
    for what, query in (
        ("steps with a lease", "SELECT count(*) FROM step WHERE lease_until IS NOT NULL"),
        ("leases of budgets", "SELECT count(*) FROM budget_lease"),
        ("marks of journals", "SELECT count(*) FROM journal_mark"),
    ):
        ((left,),) = town.rows(query)
        verdict.hold(int(left) == 0, f"{left} {what} are left")
    journals = [path.name for site in town.sites for path in (site.folder / "data" / "journal").glob("*.lock")]
    verdict.hold(not journals, f"journals are left: {journals[:3]}")
    queued, taken = town.valkey.left()
    verdict.hold(queued == 0, f"{queued} doorbells are left in the broker")
    verdict.figures["doorbells that died with their worker"] = taken
