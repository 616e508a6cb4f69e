"""Whether anything is on its way: asked twice a second by each orchestrator, so written once."""

from __future__ import annotations

from sqlalchemy import ColumnElement, bindparam, literal, or_, select

from gateway.store.engine import Database
from gateway.store.indexed_states import leased, live, ready, resting
from gateway.store.tables import run, step, webhook_delivery

#: Of a run that has not ended: what the clock or a worker brings on. A step that is parked without a time, or held,
#: waits for a person, and steps after it for it: whoever moves it hands out what follows.
_COMES_ON = (ready(), resting("gathering"), resting("parked") & step.c.wake_at.is_not(None))


def _of_live_run(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    steps = select(literal(1)).select_from(step.join(run, run.c.run_id == step.c.run_id))
    return steps.where(live(), condition).exists()


_TIMED_RUN = select(literal(1)).where(live(), run.c.deadline.is_not(None)).exists()
#: Steps that a worker was given: of an ended run too, for somebody has to end them.
_HELD_STEP = select(literal(1)).where(leased()).exists()
_LIVE_WORK = select(or_(_HELD_STEP, _TIMED_RUN, *map(_of_live_run, _COMES_ON)))

_DELIVERY = webhook_delivery.c
_DUE_WEBHOOK = select(
    select(literal(1))
    .where(_DELIVERY.state == "pending", _DELIVERY.not_before <= bindparam("now"))
    .where(or_(_DELIVERY.lease_until.is_(None), _DELIVERY.lease_until < bindparam("now")))
    .exists()
)


def live_work(database: Database) -> bool:
    """Whether a run has something to do that waits for no person, or a step is in a worker's hands."""
    with database.read() as connection:
        return bool(connection.scalar(_LIVE_WORK))


def webhook_due(database: Database, now: int) -> bool:
    """Whether a delivery could be claimed."""
    with database.read() as connection:
        return bool(connection.scalar(_DUE_WEBHOOK, {"now": now}))
