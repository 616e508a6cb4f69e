"""What people do to a run that has begun: pause it, let it go on, approve a step, send a signal, begin it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from gateway.clock import rfc3339
from gateway.engine import control
from gateway.engine.claim import dispatch
from gateway.engine.control import Decision, may_decide
from gateway.engine.ports import EngineTx
from gateway.engine.rerun import begun_again
from gateway.engine.rows import NewStep, RunRow, StepRow
from gateway.engine.states import RUN_LIVE
from gateway.errors import Conflict, NotFound, PermissionDenied
from gateway.models.tags import handed_down
from gateway.security.access import Caller
from gateway.security.audit import AuditLog
from gateway.store.run_reader import RunFound
from gateway.tasks.run_making import RunMaker, told_with
from gateway.tasks.submission import Rerun
from gateway.tasks.views import LISTED


class ControlReader(Protocol):
    """What is asked of the store; see ``store.run_reader``."""

    def run(self, run_id: str) -> RunFound | None: ...

    def task(self, task_id: str) -> tuple[RunRow, StepRow] | None: ...

    def waiting_for_people(self, limit: int) -> list[tuple[RunRow, StepRow]]: ...


class RunControl:
    """One a process; thread safe. Every act is put on record."""

    def __init__(self, maker: RunMaker, reader: ControlReader, audit: AuditLog) -> None:
        self._maker = maker
        self._reader = reader
        self._audit = audit

    def pause(self, caller: Caller, run_id: str, request_id: str) -> None:
        """Nothing new of the run, or of the runs within it, begins until it goes on."""
        self._own(caller, run_id)
        self._act(run_id, lambda tx, now: control.pause(tx, run_id, now))
        self._record(caller, "run.pause", f"run:{run_id}", request_id, {})

    def resume(self, caller: Caller, run_id: str, request_id: str) -> None:
        """A paused run goes on, and the runs within it."""
        self._own(caller, run_id)
        self._act(run_id, lambda tx, now: control.resume(tx, run_id, now))
        self._ring_within(run_id)
        self._record(caller, "run.resume", f"run:{run_id}", request_id, {})

    def decide(
        self, caller: Caller, run_id: str, step_id: str, *, approved: bool, reason: str, request_id: str
    ) -> None:
        """A person's word on a step that waits for it. On record before it counts: who, what, why."""
        caller.require("runs:approve")
        run, steps = self._found(run_id)
        step = next((one for one in steps if one.step_id == step_id), None)
        if not caller.may_see(run.owner) and not (step is not None and _asked(step, caller)):
            raise _no_run()
        if step is not None and step.state == "parked":
            may_decide(step, run, caller)
        action = "run.approve" if approved else "run.refuse"
        decision = Decision(approved, caller.principal, reason, self._maker.clock.now())
        detail = {"reason": reason, "owner": run.owner, "workflow_id": run.workflow_id}
        self._record(caller, action, f"run:{run_id}/{step_id}", request_id, detail, outcome="accepted")
        self._act(run_id, lambda tx, _now: control.decide(tx, caller, run_id, step_id, decision))

    def signal(self, caller: Caller, run_id: str, name: str, payload: Any, request_id: str) -> bool:
        """Sends a signal; whether a step waited for it."""
        self._own(caller, run_id)
        heard: bool = self._act(
            run_id, lambda tx, now: control.signal(tx, run_id, name, payload, caller.principal, now)
        )
        self._record(caller, "run.signal", f"run:{run_id}", request_id, {"signal": name})
        return heard

    def approvals(self, caller: Caller, limit: int = 200) -> list[dict[str, Any]]:
        """The steps that wait for this caller's word, longest waiting first."""
        found = []
        for run, step in self._reader.waiting_for_people(limit):
            if (caller.may_see(run.owner) or _asked(step, caller)) and _may(step, run, caller):
                found.append(_waiting_view(run, step))
        return found

    def again(self, caller: Caller, run_id: str, given: Rerun, request_id: str) -> str:
        """A new run from one that has ended: see ``engine.rerun``. Its id."""
        run = self._own(caller, run_id)
        _, steps = self._found(run_id)
        if run.status in RUN_LIVE:
            raise Conflict(f"the run is {run.status}", mend="cancel it first, or wait for its end")
        data = {**run.input, **given.input}
        changed = [name for name in given.input if name not in run.input or run.input[name] != given.input[name]]
        new = begun_again(steps, from_steps=given.from_steps, changed_inputs=changed, configs=given.configs)
        how = "what_if" if changed or given.configs else "retry"
        given = msgspec.structs.replace(given, input=data)
        return self.begin_from(caller, run, new, given, request_id, how)

    def begin_from(
        self, caller: Caller, run: RunRow, steps: tuple[NewStep, ...], given: Rerun, request_id: str, how: str
    ) -> str:
        """Begins a run that comes from another (``how``), on that one's definition and, where it is given none, with
        its tags; its id."""
        caller.require("workflows:run")
        for at, item in enumerate(steps):
            if item.reused is None:
                name = item.spec.step_id
                config = f"model_config.{name}" if name in given.configs else None
                with told_with(name, run.workflow_id, f"steps[{at}]", config):
                    self._maker.check_step(caller, item.spec)
        made = self._maker.new_run(caller, given, request_id, run.kind, run.workflow_id, {**run.input, **given.input})
        made = msgspec.structs.replace(
            made,
            steps=tuple(
                msgspec.structs.replace(item, limits=self._maker.limits(caller, run.workflow_id, item.spec))
                for item in steps
            ),
            definition_hash=run.definition_hash,
            output_mapping=run.output_mapping,
            metadata={**handed_down(run.metadata), **made.metadata},
            pins=run.pins,
            origin={"how": how, "run_id": run.run_id},
        )
        self._maker.begin(made)
        self._record(caller, f"run.{how}", f"run:{made.run_id}", request_id, dict(made.origin or {}))
        return made.run_id

    def now(self) -> int:
        """The time, in microseconds."""
        return self._maker.clock.now()

    def _act(self, run_id: str, act: Callable[[EngineTx, int], Any]) -> Any:
        now = self._maker.clock.now()
        with self._maker.store.begin() as tx:
            found = act(tx, now)
            doorbells = dispatch(tx, now, run_id=run_id)
        self._maker.executor.ring(doorbells)
        return found

    def _ring_within(self, run_id: str) -> None:
        """What may begin of the runs within a run begins now, not at the next sweep."""
        with self._maker.store.read() as tx:
            within = tx.children_live(run_id)
        for child_id in within:
            self._act(child_id, lambda _tx, _now: None)
            self._ring_within(child_id)

    def _own(self, caller: Caller, run_id: str) -> RunRow:
        caller.require("workflows:run")
        run, _ = self._found(run_id)
        if not caller.may_see(run.owner):
            raise _no_run()
        return run

    def _found(self, run_id: str) -> tuple[RunRow, list[StepRow]]:
        found = self._reader.run(run_id)
        if found is None:
            raise _no_run()
        return found.run, found.steps

    def _record(
        self,
        caller: Caller,
        action: str,
        resource: str,
        request_id: str,
        detail: Mapping[str, Any],
        outcome: str = "completed",
    ) -> None:
        self._audit.record(
            actor=caller.principal,
            action=action,
            resource=resource,
            outcome=outcome,
            request_id=request_id,
            detail=dict(detail),
        )


def _asked(step: StepRow, caller: Caller) -> bool:
    approval = step.spec.approval
    return approval is not None and (caller.principal in approval.principals or caller.role in approval.roles)


def _may(step: StepRow, run: RunRow, caller: Caller) -> bool:
    try:
        may_decide(step, run, caller)
    except PermissionDenied:
        return False
    return True


def _waiting_view(run: RunRow, step: StepRow) -> dict[str, Any]:
    approval, error = step.spec.approval, step.error or {}  # the error asks about calls of unknown outcome
    return {
        "run_id": run.run_id,
        "step_id": step.step_id,
        "workflow_id": run.workflow_id,
        "owner": run.owner,
        "message": error.get("message") or ("" if approval is None else approval.message),
        "since": rfc3339(step.started_at or step.created_at),
        "expires_at": None if step.wake_at is None else rfc3339(step.wake_at),
    }


def _no_run() -> NotFound:
    return NotFound("no run of that id is yours", mend=LISTED.format("runs"), param="run_id")
