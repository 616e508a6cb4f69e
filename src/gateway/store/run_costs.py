"""What the runs of a workflow used and cost, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import case, func, select

from gateway.models.llm_models import Usage
from gateway.store.engine import Database
from gateway.store.tables import entry, run, step

_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "cost")


class KeptStep(Struct, frozen=True):
    """What one step of a completed run used and cost at one model, and what it was given."""

    run_id: str
    step_id: str
    model: str
    calls: int
    usage: Usage
    cost: int
    input: Mapping[str, Any]


class SqlRunCosts:
    """See ``serving.run_estimate.History``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def completed(self, workflow_id: str, limit: int) -> tuple[list[str], list[KeptStep]]:
        """The newest completed runs, and their steps that were charged for anything."""
        newest = (
            select(run.c.run_id)
            .where(run.c.workflow_id == workflow_id, run.c.kind == "workflow", run.c.status == "completed")
            .order_by(run.c.run_id.desc())
            .limit(limit)
        )
        sums = [func.sum(entry.c[name]).label(name) for name in _COUNTS]
        calls = func.sum(case((entry.c.kind == "correction", 0), else_=1)).label("calls")
        query = (
            select(entry.c.run_id, entry.c.task_id, entry.c.model, calls, *sums)
            .where(entry.c.run_id.in_(newest))
            .group_by(entry.c.run_id, entry.c.task_id, entry.c.model)
        )
        given = select(step.c.task_id, step.c.step_id, step.c.input).where(step.c.run_id.in_(newest))
        with self._database.read() as connection:
            runs = list(connection.scalars(newest))
            steps = {row.task_id: row for row in connection.execute(given)}
            charged = connection.execute(query).all()
        return runs, [_kept(row, steps[row.task_id]) for row in charged if row.task_id in steps]


def _kept(row: Any, of: Any) -> KeptStep:
    counts: dict[str, Any] = {name: int(getattr(row, name)) for name in _COUNTS[:-1]}
    usage = Usage(**counts, basis="counted")
    given = msgspec.json.decode(of.input, type=dict[str, Any]) if of.input else {}
    return KeptStep(row.run_id, of.step_id, row.model, int(row.calls), usage, int(row.cost), given)
