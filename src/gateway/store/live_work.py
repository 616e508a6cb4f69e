"""Whether anything is on its way: asked twice a second by each orchestrator, so written once."""

from __future__ import annotations

from typing import get_args

from sqlalchemy import bindparam, literal, or_, select

from gateway.engine.states import RUN_ENDED, RunState
from gateway.store.engine import Database
from gateway.store.tables import run, step, webhook_delivery

_LIVE_RUN = select(literal(1)).where(run.c.status.in_(sorted(set(get_args(RunState)) - RUN_ENDED))).exists()
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
    """Whether a run has not ended, or a step is in a worker's hands."""
    with database.read() as connection:
        return bool(connection.scalar(_LIVE_WORK))


def webhook_due(database: Database, now: int) -> bool:
    """Whether a delivery could be claimed."""
    with database.read() as connection:
        return bool(connection.scalar(_DUE_WEBHOOK, {"now": now}))
