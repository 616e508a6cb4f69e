"""Whether anything is on its way: asked twice a second by each orchestrator, so written once."""

from __future__ import annotations

from typing import get_args

from sqlalchemy import and_, bindparam, literal, or_, select

from gateway.engine.states import RUN_ENDED, RunState
from gateway.store.engine import Database
from gateway.store.tables import run, step, webhook_delivery

#: Of a run that has not ended: what the clock or a worker brings on. A step that is parked without a time, or held,
#: waits for a person, and steps after it for it: whoever moves it hands out what follows.
_COMES_ON = or_(
    run.c.deadline.is_not(None),
    step.c.state.in_(("ready", "gathering")),
    and_(step.c.state == "parked", step.c.wake_at.is_not(None)),
)
_LIVE_RUN = (
    select(literal(1))
    .select_from(run.join(step, step.c.run_id == run.c.run_id))
    .where(run.c.status.in_(sorted(set(get_args(RunState)) - RUN_ENDED)), _COMES_ON)
    .exists()
)
#: Steps that a worker was given: of an ended run too, for somebody has to end them.
_HELD_STEP = select(literal(1)).where(step.c.state.in_(("queued", "running"))).exists()
_LIVE_WORK = select(or_(_LIVE_RUN, _HELD_STEP))

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
