"""What must hold when the storm is over, each found in SQL, in what the provider counted, and in what readers heard."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sqlalchemy import text
from storm_far import Far
from storm_readers import Reader
from storm_town import Town
from verdict import Verdict

from gateway.store.engine import Database

#: Prompts of one run, by how many answers they stand behind, and how many steps ask each.
DEPTHS = {0: 1, 1: 3, 2: 1, 3: 1}
STEPS = sum(DEPTHS.values())


def known_in(town: Town) -> tuple[int, int]:
    """How many calls the ledger knows, and how many webhooks are not known to have come."""
    database = Database(town.postgres.url)
    try:
        with database.engine.connect() as connection:
            unsent = "SELECT count(*) FROM webhook_delivery WHERE state <> 'delivered'"
            entries, webhooks = (connection.scalar(text(it)) for it in ("SELECT count(*) FROM entry", unsent))
            return int(entries or 0), int(webhooks or 0)
    finally:
        database.close()


def prove(town: Town, far: Far, readers: list[Reader], runs: dict[str, str]) -> Verdict:
    """``runs``: the question of each run by its id. Everything has ended and been drained before."""
    verdict = Verdict()
    database = Database(town.postgres.url)
    try:
        with database.engine.connect() as connection:

            def rows(query: str) -> list[Any]:
                return list(connection.execute(text(query)))

            _runs(verdict, rows, runs)
            _money(verdict, rows, far, runs)
            _events(verdict, rows, far, readers, runs)
            _nothing_left(verdict, rows)
    finally:
        database.close()
    for what in ("ledger", "audit"):
        done = town.command(what, "verify")
        verdict.hold(done.returncode == 0, f"{what} verify: {done.stdout[-500:]}{done.stderr[-500:]}")
    return verdict


def _runs(verdict: Verdict, rows: Any, runs: dict[str, str]) -> None:
    states = Counter(state for (state,) in rows("SELECT status FROM run"))
    verdict.figures["runs"] = dict(states)
    verdict.hold(states == {"completed": len(runs)}, f"not every run completed: {dict(states)}, {len(runs)} given")
    outputs = dict(rows("SELECT run_id, output FROM run"))
    for run_id, question in runs.items():
        told = json.loads(outputs.get(run_id) or "{}").get("end", {}).get("response")
        verdict.hold(told == f"{question}++++", f"{run_id} says {told!r} of {question!r}")
    steps = Counter(state for (state,) in rows("SELECT state FROM step"))
    verdict.hold(steps == {"completed": STEPS * len(runs)}, f"not every step completed: {dict(steps)}")
    verdict.figures["steps"] = sum(steps.values())
    (lost,) = rows("SELECT coalesce(sum(lost), 0), coalesce(sum(attempts), 0) FROM step")
    verdict.figures |= {"leases lost": int(lost[0]), "attempts": int(lost[1])}


def _money(verdict: Verdict, rows: Any, far: Far, runs: dict[str, str]) -> None:
    outcomes = {
        outcome: int(number) for outcome, number in rows("SELECT outcome, count(*) FROM entry GROUP BY outcome")
    }
    verdict.figures |= {"calls the provider began": sum(far.calls.values()), "entries": outcomes}
    completed, began = outcomes.get("completed", 0), sum(far.calls.values())
    named = sum(number for outcome, number in outcomes.items() if outcome != "completed")
    verdict.hold(completed >= STEPS * len(runs), f"{completed} completed entries for {STEPS * len(runs)} steps")
    verdict.hold(
        completed <= sum(far.answered.values()),
        f"{completed} entries, {sum(far.answered.values())} answers: charged twice",
    )
    verdict.hold(began <= completed + named, f"the provider began {began} calls, the ledger knows {completed + named}")
    extra = {
        prompt: count - DEPTHS[depth]
        for prompt, count in far.calls.items()
        if (depth := prompt.count("+")) in DEPTHS and count > DEPTHS[depth]
    }
    verdict.figures["calls made again after a kill"] = sum(extra.values())
    strange = [prompt for prompt in far.calls if prompt.rstrip("+") not in set(runs.values())]
    verdict.hold(not strange, f"the provider was asked what nobody asked: {strange[:3]}")
    ((attempts,),) = rows("SELECT coalesce(sum(attempts), 0) FROM step")
    verdict.hold(began <= int(attempts), f"{began} calls in {attempts} attempts: a completed step ran again")


def _events(verdict: Verdict, rows: Any, far: Far, readers: list[Reader], runs: dict[str, str]) -> None:
    ids = [int(name) for (name,) in rows("SELECT id FROM event ORDER BY id")]
    verdict.figures["events"] = len(ids)
    ends = Counter(rows("SELECT run_id, type FROM event WHERE type IN ('workflow_completed', 'task_completed')"))
    kinds = Counter((run_id, kind) for (run_id, kind), count in ends.items() for _ in range(count))
    for run_id in runs:
        told = (kinds[run_id, "workflow_completed"], kinds[run_id, "task_completed"])
        verdict.hold(told == (1, STEPS), f"{run_id} told its end {told[0]} times, its steps' {told[1]} times")
    for number, reader in enumerate(readers):
        verdict.hold(reader.ids == sorted(set(reader.ids)), f"reader {number} heard an event twice or out of order")
        missing = set(ids) - set(reader.ids)
        verdict.hold(not missing, f"reader {number} missed {len(missing)} of {len(ids)} events")
    verdict.figures["readers' lines broken"] = sum(reader.lines_broken for reader in readers)
    deliveries = {str(name): str(state) for name, state in rows("SELECT delivery_id, state FROM webhook_delivery")}
    verdict.hold(set(far.deliveries) == set(deliveries), "webhooks and their receiver do not agree")
    unsent = [name for name, state in deliveries.items() if state != "delivered"]
    verdict.hold(not unsent, f"{len(unsent)} webhooks were not delivered")
    verdict.hold(len(deliveries) == len(runs), f"{len(deliveries)} webhooks for {len(runs)} runs")
    verdict.figures |= {
        "webhooks": len(deliveries),
        "webhooks that came again": far.deliveries.total() - len(far.deliveries),
    }


def _nothing_left(verdict: Verdict, rows: Any) -> None:
    ((leases,),) = rows("SELECT count(*) FROM step WHERE lease_until IS NOT NULL")
    verdict.hold(int(leases) == 0, f"{leases} steps still have a lease")
