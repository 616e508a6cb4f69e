"""What must hold of money when a race is over: the ledger beside what the provider counted, and nothing left over."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from money_far import INPUT_UNITS, OUTPUT_UNITS, Call
from sqlalchemy import text
from storm_town import Town
from verdict import Verdict

from gateway.money import plain_usd
from gateway.store.engine import Database

_ENTRIES = text(
    "SELECT request_id, key_id, team, cost, outcome, basis, flags, input_tokens, output_tokens FROM entry ORDER BY at"
)
#: The column of an entry by which a budget of the scope binds it.
_BOUND = {"gateway": "", "team": "team", "key": "key_id"}
_LEFT = {
    "reservations": "SELECT count(*) FROM budget WHERE reserved <> 0",
    "shares": "SELECT count(*) FROM budget_lease",
    "journal marks": "SELECT count(*) FROM journal_mark",
}


#: What the provider did, by request id.
Calls = dict[str, list[Call]]


def prove_money(town: Town, calls: Calls, verdict: Verdict) -> dict[str, list[Any]]:
    """Everything has been stopped before. The entries by request id."""
    database = Database(town.postgres.url)
    try:
        with database.read() as connection:
            rows = list(connection.execute(_ENTRIES))
            left = {what: int(connection.scalar(text(query)) or 0) for what, query in _LEFT.items()}
            budgets = list(connection.execute(text("SELECT * FROM budget")))
    finally:
        database.close()
    entries: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        entries[row.request_id].append(row)
    left["journal files"] = sum(1 for site in town.sites for _ in _journals(site.folder / "data"))
    verdict.figures |= {"left over": left}
    verdict.hold(not any(left.values()), f"left over: {left}")
    _each_call(verdict, calls, entries)
    _sums(verdict, calls, entries)
    _caps(verdict, budgets, rows)
    for what in ("ledger", "audit"):
        done = town.command(what, "verify")
        verdict.figures[f"{what} verify"] = done.stdout.strip()[-200:]
        verdict.hold(done.returncode == 0, f"{what} verify: {done.stdout[-500:]}{done.stderr[-500:]}")
    return entries


def _journals(data: Path) -> list[Path]:
    return [path for path in data.rglob("journal_*") if path.is_file()]


def _each_call(verdict: Verdict, calls: Calls, entries: dict[str, list[Any]]) -> None:
    """Each call that the provider worked on is in the ledger, once; what is there beside was begun and cut."""
    lost = twice = again = 0
    for name in calls.keys() | entries.keys():
        worked = [call for call in calls.get(name, []) if not call.refused]
        told = entries.get(name, [])
        completed = [row for row in told if row.outcome == "completed"]
        missing = max(len(worked) - len(told), 0)
        unseen = min(missing, sum(call.unseen for call in worked))
        again, lost = again + unseen, lost + missing - unseen
        twice += max(len(completed) - sum(call.whole for call in worked), 0)
        costs = Counter(call.cost for call in worked if call.whole)
        for row in completed:
            verdict.hold(costs[row.cost] > 0, f"{name} completed at {plain_usd(row.cost)}, not what the provider told")
            costs[row.cost] -= 1
        for row in told:
            price = row.input_tokens * INPUT_UNITS + row.output_tokens * OUTPUT_UNITS
            priced = row.cost == price or row.outcome == "unresolved"
            verdict.hold(priced, f"{name}: {plain_usd(row.cost)} is not the price of its tokens")
            verdict.hold(row.basis in ("provider", "counted", "estimated"), f"{name} has the basis {row.basis!r}")
            verdict.hold("over_reservation" not in row.flags, f"{name} cost more than was set aside for it")
    verdict.hold(not lost, f"{lost} calls that the provider worked on are not in the ledger")
    verdict.hold(not twice, f"{twice} entries are of calls that the provider did not complete")
    verdict.figures |= {
        "billed calls that are not in the ledger": lost,
        "charged twice": twice,
        "asked again under one intent after a line that broke at once": again,
    }


def _sums(verdict: Verdict, calls: Calls, entries: dict[str, list[Any]]) -> None:
    rows = [row for told in entries.values() for row in told]
    outcomes = Counter(row.outcome for row in rows)
    cut = [row for row in rows if row.outcome != "completed"]
    charged = sum(row.cost for row in rows if row.outcome == "completed")
    counted = sum(_matched(calls.get(name, []), told) for name, told in entries.items())
    verdict.hold(charged == counted, f"completed calls: {charged} units charged, {counted} counted by the provider")
    verdict.figures |= {
        "calls that the provider began": sum(map(len, calls.values())),
        "entries": dict(outcomes),
        "completed, USD": plain_usd(charged),
        "completed, by the provider, USD": plain_usd(counted),
        "cut, USD": plain_usd(sum(row.cost for row in cut)),
        "cut, by basis": dict(Counter(row.basis for row in cut)),
        "cut, tokens charged": sum(row.output_tokens for row in cut),
    }


def _matched(calls: list[Call], told: list[Any]) -> int:
    """What the provider counts for as many whole answers as the ledger has completed entries; a whole answer
    that was cut on its way to the caller is named otherwise there."""
    left = Counter(call.cost for call in calls if call.whole)
    left.subtract(Counter(row.cost for row in told if row.outcome != "completed"))
    completed = sum(1 for row in told if row.outcome == "completed")
    return sum(sorted((+left).elements())[:completed])


def _caps(verdict: Verdict, budgets: list[Any], rows: list[Any]) -> None:
    told = {}
    for budget in budgets:
        if budget.scope not in _BOUND:
            continue
        column = _BOUND[budget.scope]
        spent = sum(row.cost for row in rows if not column or getattr(row, column) == budget.subject)
        name = budget.scope if budget.scope != "team" else f"team {budget.subject}"
        limit, used = budget.limit_units, budget.spent / budget.limit_units
        told[name] = {"spent, USD": plain_usd(budget.spent), "cap, USD": plain_usd(limit), "used": round(used, 4)}
        verdict.hold(budget.spent == spent, f"{name}: {budget.spent} units spent, its entries say {spent}")
        verdict.hold(budget.spent <= limit, f"{name}: {budget.spent - limit} units above its cap")
    verdict.figures["caps"] = told
