"""Limits by key in SQL: see ``engine.limits``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update

from gateway.engine.rows import Candidate, Doorbell, KeyedLimit, Limiter
from gateway.store.dialect import insert_into
from gateway.store.indexed_states import leased, ready
from gateway.store.step_image import ImageTx
from gateway.store.tables import limiter, step, step_limit


class LimitQueries(ImageTx):
    """The part of ``EngineTx`` that hands out steps."""

    def insert_limits(self, limits: Sequence[tuple[str, KeyedLimit]]) -> None:
        """Of steps, by task id."""
        if not limits:
            return
        rows = [
            {"task_id": task_id, "key": one.key, "concurrency": one.concurrency, "rate": one.rate, "per": one.per}
            for task_id, one in limits
        ]
        self.raw.execute(insert(step_limit), rows)
        for key in sorted({one.key for _, one in limits}):
            row = insert_into(self.raw, limiter).values(key=key, next_at=0)
            self.raw.execute(row.on_conflict_do_nothing(index_elements=[limiter.c.key]))

    def limits_of(self, task_ids: Sequence[str]) -> dict[str, list[KeyedLimit]]:
        """By task id."""
        query = select(step_limit).where(step_limit.c.task_id.in_(task_ids)).order_by(step_limit.c.key)
        found: dict[str, list[KeyedLimit]] = {task_id: [] for task_id in task_ids}
        for row in self.raw.execute(query):
            found[row.task_id].append(KeyedLimit(row.key, row.concurrency, row.rate, row.per))
        return found

    def limited_ready(self, now: int, limit: int, run_id: str | None = None) -> list[Candidate]:
        """Ready steps with limits that are due, for each key so many that it cannot hide the others'."""
        due = select(step_limit.c.key).distinct().join(step, step.c.task_id == step_limit.c.task_id)
        due = due.where(ready(), step.c.limited.is_(True), step.c.not_before <= now)
        if run_id is not None:
            due = due.where(step.c.run_id == run_id)
        chosen: dict[str, Any] = {}
        for key in self.settled.scalars(due).all():
            query = (
                select(step.c.task_id, step.c.priority, step.c.created_at, step.c.position)
                .join(step_limit, step_limit.c.task_id == step.c.task_id)
                .where(step_limit.c.key == key, ready(), step.c.not_before <= now)
                .order_by(step.c.priority.desc(), step.c.created_at, step.c.position)
                .limit(limit)
                .with_for_update(skip_locked=True, of=step)
            )
            if run_id is not None:
                query = query.where(step.c.run_id == run_id)
            chosen |= {row.task_id: (-row.priority, row.created_at, row.position) for row in self.raw.execute(query)}
        if not chosen:
            return []
        limits = self.limits_of(list(chosen))
        return [Candidate(task_id, tuple(limits[task_id])) for task_id in sorted(chosen, key=lambda one: chosen[one])]

    def lock_limiters(self, keys: Sequence[str]) -> dict[str, Limiter]:
        """How the keys stand; those that somebody else has locked are left out."""
        rows = select(limiter).where(limiter.c.key.in_(keys)).order_by(limiter.c.key).with_for_update(skip_locked=True)
        standing = {row.key: Limiter(0, row.next_at) for row in self.raw.execute(rows)}
        active = (
            select(step_limit.c.key, func.count().label("active"))
            .join(step, step.c.task_id == step_limit.c.task_id)
            .where(step_limit.c.key.in_(list(standing)), leased())
            .group_by(step_limit.c.key)
        )
        for row in self.settled.execute(active):
            standing[row.key].active = row.active
        return standing

    def save_limiters(self, standing: Mapping[str, Limiter]) -> None:
        for key, one in standing.items():
            if one.next_at:
                self.raw.execute(update(limiter).where(limiter.c.key == key).values(next_at=one.next_at))

    def hand_out(self, task_ids: Sequence[str], lease_until: int) -> list[Doorbell]:
        """ready → queued, token + 1."""
        if not task_ids:
            return []
        taken = self.connection.execute(
            update(step)
            .where(step.c.task_id.in_(task_ids), step.c.state == "ready")
            .values(state="queued", token=step.c.token + 1, lease_until=lease_until)
            .returning(step.c.task_id, step.c.token, step.c.queue, step.c.priority, step.c.run_id)
        )
        bells = {row.task_id: Doorbell(row.task_id, row.token, row.queue, row.priority, row.run_id) for row in taken}
        return [bells[task_id] for task_id in task_ids if task_id in bells]
