"""Calls that a lost worker had begun: nobody knows whether they were answered, and paid. The step's policy
(``on_unknown_outcome``) decides whether they are made again, and the record says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from gateway.clock import rfc3339
from gateway.engine.rows import BegunCall, StepRow
from gateway.engine.waiting import StepAsks
from gateway.errors import OutcomeUnknown

_log = logging.getLogger(__name__)


class BegunCalls(Protocol):
    """See ``store.step_call_store``."""

    def unanswered(self, task_id: str, token: int, generation: int) -> list[BegunCall]: ...

    def follow(self, calls: Sequence[BegunCall], followed_by: str) -> None: ...


def settle(store: BegunCalls, step: StepRow) -> list[dict[str, Any]]:
    """Before the step's handler is called: what is to be told of calls that are made again. ``OutcomeUnknown`` or
    ``StepAsks`` where the policy says so."""
    if step.token <= 1:  # nobody has worked on it before
        return []
    found = store.unanswered(step.task_id, step.token, generation_of(step))
    error = step.error or {}
    asked = error.get("calls", []) if error.get("code") == OutcomeUnknown.code else []
    allowed = [call for call in found if call.followed_by is None and _view(call) in asked]
    unknown = [call for call in found if call.followed_by is None and call not in allowed]
    policy = step.spec.on_unknown_outcome
    if unknown and policy != "retry":
        _refuse(store, step, unknown, policy)
    store.follow(unknown, "retry")
    store.follow(allowed, "ask")
    if unknown or allowed:
        _log.warning("step %s makes %s calls again whose outcome is unknown", step.task_id, len(unknown + allowed))
    return [
        _view(call) | {"followed_by": call.followed_by or ("ask" if call in allowed else "retry")} for call in found
    ]


def generation_of(step: StepRow) -> int:
    """How many attempts had failed before this one: those that were cut off do not count."""
    return step.attempts - 1 - step.lost


def _refuse(store: BegunCalls, step: StepRow, calls: list[BegunCall], policy: str) -> None:
    models = ", ".join(dict.fromkeys(call.model for call in calls))
    what = f"the worker was lost with {len(calls)} calls of {models} on their way, which may have been paid"
    if policy == "fail":
        store.follow(calls, "fail")
        raise OutcomeUnknown(
            what,
            mend="see the run's entries of outcome unresolved, then begin it again: POST /runs/ID/retry",
            calls=[_view(call) for call in calls],
        )
    message = f"{what}; may they be made again?"
    raise StepAsks({"code": OutcomeUnknown.code, "message": message, "calls": [_view(call) for call in calls]})


def _view(call: BegunCall) -> dict[str, Any]:
    return {"key": call.key, "token": call.token, "model": call.model, "at": rfc3339(call.at)}
