"""What follows when a step of a run ended, within the transaction that ended it.

Steps that waited on it begin, are skipped, wait for a person or a signal, or are done for each item of a list;
the last one ends the run. Every way in which a step ends comes through here, whoever ended it.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec

from gateway.clock import SECOND
from gateway.engine.definition import check_input
from gateway.engine.gates import (
    gathered,
    kept_error,
    list_of,
    published_of,
    reason_to_skip,
    source_of,
)
from gateway.engine.mapping import Item, Source, resolve, value_of
from gateway.engine.nested import child_of
from gateway.engine.ports import EngineTx
from gateway.engine.rows import NewItem, RunRow, StepRow, Tally, items_said
from gateway.engine.run_end import tell_run_end
from gateway.engine.states import RUN_LIVE, check_run_move
from gateway.errors import ValidationFailed
from gateway.events.event import EventDraft
from gateway.ids import new_id


class Flow:
    """One transaction's worth of consequences; ``run`` is locked in it. End with ``close``."""

    def __init__(self, tx: EngineTx, run: RunRow, now: int) -> None:
        self.tx = tx
        self.run = run
        self.now = now
        self._live = run.status in RUN_LIVE
        self._failure = run.error if self._live else None
        self._cancelling = run.cancel_requested
        self._due: deque[str] = deque()
        #: Steps that do a workflow for each item, and how many of those that wait may begin.
        self._free: Counter[str] = Counter()
        self._drafts: list[EventDraft] = []
        #: How far the list is of which an item ended: its step, how many have ended, and how many there are.
        self._list: tuple[StepRow, int, int] | None = None

    # -- what happened to a step ------------------------------------------------------------------

    def completed(self, step: StepRow, output: dict[str, Any]) -> None:
        """It did its work."""
        self.tell("task_completed", step, result=output)
        if step.role == "item":
            self._item_over(step)
        else:
            self._over(step, completed=True)

    def failed(self, step: StepRow, error: dict[str, Any]) -> None:
        """It failed for good: its run fails, unless the definition says what then."""
        self.tell("task_failed", step, error=error)
        if step.role == "item":
            self._item_over(step, error)
        elif step.role == "step" and step.spec.on_failure is not None:
            self._over(step, completed=False)
        elif step.role == "step":
            self.give_up({**error, "step_id": step.step_id})

    def cancelled(self, step: StepRow) -> None:
        """It was stopped because nobody wants it, or stopped itself."""
        self.tell("task_cancelled", step)
        if step.role == "item":
            self._item_over(step)
        elif step.role == "step" and self._live and not self._stopping:
            self.stop("cancelled")

    def tell(self, kind: str, step: StepRow, **payload: Any) -> None:
        """An event about the step."""
        about = {"step_id": step.step_id, "task_type": step.task_type}
        self._drafts.append(EventDraft(kind, self.run.owner, self.run.run_id, step.task_id, about | payload))

    # -- what happened to the run -----------------------------------------------------------------

    def give_up(self, error: dict[str, Any], state: str = "skipped") -> None:
        """The run failed: nothing new of it begins."""
        if self._live:
            self._failure = self._failure or error
            self.stop(state, self._failure)

    def stop(self, state: str, error: dict[str, Any] | None = None) -> None:
        """Nothing new of the run begins: what has not begun is skipped or cancelled."""
        self._cancelling = True
        if self.run.status == "paused":  # what there is to undo is not to wait for a person
            self._set_running()
        self.tx.stop_run(self.run.run_id, error)
        self._due.clear()
        self._free.clear()
        ended = self.tx.end_unstarted(self.run.run_id, state, self.now)
        if state == "cancelled":
            for task_id, _parent in ended:
                self._drafts.append(EventDraft("task_cancelled", self.run.owner, self.run.run_id, task_id, {}))
        for parent, count in Counter(parent for _, parent in ended if parent is not None).items():
            self._count_down(parent, count)

    def close(self, step: StepRow | None = None, *, at_once: bool = False) -> None:
        """Opens what is due, ends the run or tells its progress, and writes the events. ``at_once``: a run that
        is unwanted ends although steps of it still run, unless there is something to undo."""
        self._settle()
        if self._live:
            self._advance(step, at_once)
            if self.run.status == "paused":
                self.tx.hold(self.run.run_id)
        self.tx.add_events(self._drafts, self.now)

    def open_due(self) -> None:
        """Looks at every step that waits for nothing (a run that begins has such)."""
        self._due += self.tx.due(self.run.run_id)

    def begin_work(self, step: StepRow, source: Source, *, decided: bool = False) -> None:
        """The step's turn: a person's word, a signal, its items, or the work itself."""
        try:
            self._turn(step, source, decided)
        except ValidationFailed as error:
            self.end_waiting(step, "failed", {"error": kept_error(error)})

    def _turn(self, step: StepRow, source: Source, decided: bool) -> None:
        spec = step.spec
        if spec.approval is not None and not decided:
            self._park(step, spec.approval.expires, "task_waiting", waits_for="approval", message=spec.approval.message)
        elif spec.signal is not None:
            self._await_signal(step)
        elif spec.for_each is not None:
            self._fan_out(step, list_of(step, source))
        elif spec.workflow is not None:
            self._begin_child(step, source)
        else:
            self.tx.move(step, "ready", self.now)

    def end_waiting(self, step: StepRow, state: str, values: dict[str, Any]) -> bool:
        """A step that no worker holds ends: ``completed`` with an output, ``failed`` with an error, ``cancelled``
        or ``skipped``."""
        output, error = values.get("output"), values.get("error")
        columns: dict[str, Any] = {"completed_at": self.now, **values}
        if output is not None:
            columns |= {"published": published_of(step.spec, output), "progress": 1.0}
        if not self.tx.move(step, state, self.now, **columns):
            return False
        if output is not None:
            self.completed(step, output)
        elif error is not None:
            self.failed(step, error)
        elif state == "cancelled":
            self.cancelled(step)
        else:
            self._over(step, completed=False)
        return True

    # -- parts ------------------------------------------------------------------------------------

    @property
    def _stopping(self) -> bool:
        return self._cancelling or self._failure is not None

    def _over(self, step: StepRow, *, completed: bool) -> None:
        if step.role == "step" and self._live and not self._stopping:
            self._due += self.tx.release_dependents(self.run.run_id, step.step_id, completed=completed)

    def _settle(self) -> None:
        while self._due or self._free:
            if not self._due:
                self._begin_children(*self._free.popitem())
                continue
            step = self.tx.step(self._due.popleft())
            if step is not None and step.state == "waiting" and step.waiting_on <= 0:
                self._open(step)

    def _open(self, step: StepRow) -> None:
        before = self.tx.steps_named(self.run.run_id, step.spec.dependencies)
        source = source_of(self.run, before)
        try:
            why = reason_to_skip(step.spec, {one.step_id: one.state for one in before}, source)
        except ValidationFailed as error:
            self.end_waiting(step, "failed", {"error": kept_error(error)})
            return
        if why is not None:
            self.skip(step, why)
        else:
            self.begin_work(step, source)

    def skip(self, step: StepRow, why: str) -> None:
        """The step does not run; those after it are asked what that means to them."""
        self.tell("task_skipped", step, reason=why)
        self.end_waiting(step, "skipped", {"record": {"skipped": why}})

    def _park(self, step: StepRow, seconds: float | None, kind: str, **told: Any) -> None:
        # A run that is to begin later waits for its people and signals from now on, and its times from then.
        wake_at = None if seconds is None else max(self.now, step.not_before) + int(seconds * SECOND)
        if self.tx.move(step, "parked", self.now, wake_at=wake_at, started_at=self.now):
            self._begin_run()
            self.tell(kind, step, **told)

    def _await_signal(self, step: StepRow) -> None:
        wanted = step.spec.signal
        assert wanted is not None  # noqa: S101 - asked only of such steps
        self._park(step, wanted.timeout, "task_waiting", waits_for="signal", signal=wanted.name)
        found = self.tx.take_signal(self.run.run_id, wanted.name, step.task_id)
        parked = self.tx.step(step.task_id)
        if found is not None and parked is not None:
            self.end_waiting(parked, "completed", {"output": {"received": True, **found}})

    def _fan_out(self, step: StepRow, found: list[Any]) -> None:
        asked = step.spec.for_each
        assert asked is not None  # noqa: S101 - asked only of such steps
        at_once = asked.concurrency if step.spec.workflow is None else 0  # a run is begun, not handed out
        items = [NewItem(new_id("task"), at, value, at < at_once) for at, value in enumerate(found)]
        columns = {"waiting_on": len(items), "input": {"items": len(items)}, "started_at": self.now}
        if not self.tx.move(step, "gathering", self.now, **columns):
            return
        self._begin_run()
        self.tell("task_started", step, attempt=1, items=len(items))
        one = msgspec.structs.replace(
            step.spec, for_each=None, when=None, approval=None, on_failure=None, compensate=None, output_mapping={}
        )
        self.tx.insert_items(step, one, items, self.now)
        if not items:
            self._gather(step.task_id)
        elif step.spec.workflow is not None:
            self._free[step.task_id] += asked.concurrency

    def _begin_children(self, task_id: str, count: int) -> None:
        """So many of the items that wait begin, each as a run of its own. One that cannot has failed, and makes
        room for another."""
        items = self.tx.waiting_items(task_id, count)
        if not items:
            return
        source = source_of(self.run, self.tx.steps_named(self.run.run_id, items[0].spec.dependencies))
        for item in items:
            try:
                self._begin_child(item, Source(source.run_input, source.steps, Item(item.item, item.item_index or 0)))
            except ValidationFailed as error:
                self.end_waiting(item, "failed", {"error": kept_error(error)})

    def _begin_child(self, step: StepRow, source: Source) -> None:
        """The step, or the item of one, is a run of another workflow, in the version that was pinned when this run
        began. There is one for each: only the first to move the step begins it."""
        workflow_id = step.spec.workflow or ""
        version = (self.run.pins or {}).get(workflow_id, "")
        definition = self.tx.definition(version)
        if definition is None:
            raise ValidationFailed(f"the workflow {workflow_id!r} has no such version any more", param=step.step_id)
        data = resolve(step.spec.input_mapping, self.run.input, source.steps, source.item)
        check_input(definition, data)
        child = child_of(self.run, step, definition, version, data)
        record = {"run": child.run_id, "definition": version}
        if not self.tx.move(step, "gathering", self.now, input=data, started_at=self.now, record=record):
            return
        self._begin_run()
        self.tell("task_started", step, attempt=1, run=child.run_id)
        self.tx.insert_run(child, self.now)
        begun = self.tx.run(child.run_id)
        if begun is not None:
            flow = Flow(self.tx, begun, self.now)
            flow.open_due()
            flow.close()
        if self.run.status == "paused":
            hold_all(self.tx, child.run_id, self.now)

    def _item_over(self, item: StepRow, error: dict[str, Any] | None = None) -> None:
        parent = self.tx.step(item.parent or "")
        if parent is None or parent.state != "gathering" or parent.spec.for_each is None:
            return
        asked = parent.spec.for_each
        if error is not None and not self._stopping:
            most = 0 if asked.on_error == "fail" else asked.max_errors
            if most is not None and self.tx.items_failed(parent.task_id) > most:
                self.tx.end_items(parent.task_id, self.now)
                whole = {**error, "item": item.item_index}
                self.end_waiting(parent, "failed", {"error": whole})
                return
        self._count_down(parent.task_id, 1)

    def _count_down(self, task_id: str, count: int) -> None:
        step = self.tx.step(task_id)
        if step is None:
            return
        begin, total = 0 if self._stopping else count, (step.input or {}).get("items", 1)
        if begin and step.spec.workflow is not None:
            self._free[task_id] += begin
            begin = 0
        left = self.tx.items_over(step, count, begin=begin, total=total)
        if left <= 0:
            self._gather(task_id)
        else:
            self._list = step, total - left, total

    def _gather(self, task_id: str) -> None:
        """The last item of a step has ended."""
        step = self.tx.step(task_id)
        if step is None or step.state != "gathering":
            return
        items = self.tx.items_ended(task_id)
        if self._stopping and any(item.state in ("cancelled", "skipped") for item in items):
            self.end_waiting(step, "cancelled", {"output": None})
        else:
            self.end_waiting(step, "completed", {"output": gathered(items)})

    def _begin_run(self) -> None:
        if self.run.status != "pending":
            return
        self._set_running()
        if self.run.kind == "workflow":
            payload = {"workflow_id": self.run.workflow_id}
            self._drafts.append(EventDraft("workflow_started", self.run.owner, self.run.run_id, None, payload))

    def _set_running(self) -> None:
        check_run_move(self.run.status, "running")
        self.tx.set_run(self.run.run_id, "running", self.now)
        self.run = msgspec.structs.replace(self.run, status="running")

    def _advance(self, step: StepRow | None, at_once: bool) -> None:
        tally = self.tx.tally(self.run.run_id)
        bad = self._stopping or tally.cancelled > 0
        if tally.open == 0 or (bad and at_once and not tally.undo_waiting):
            self._end(tally, bad)
        elif step is not None:
            self.tx.set_progress(self.run.run_id, tally.progress)
            if self.run.kind == "workflow":
                about, done, note = step, 1.0, ""
                if step.role == "item" and self._list is not None:
                    about, ended, every = self._list
                    done, note = ended / every, items_said(ended, every)
                payload = {"workflow_id": self.run.workflow_id, "progress": tally.progress, "step_id": about.step_id}
                payload |= {"step_progress": done, "note": note}
                draft = EventDraft("workflow_progress", self.run.owner, self.run.run_id, about.task_id, payload)
                self._drafts.append(draft)

    def _end(self, tally: Tally, bad: bool) -> None:
        steps = self.tx.steps(self.run.run_id)
        output: dict[str, Any] | None = None
        if not bad:
            try:
                output = self._result(steps)
            except ValidationFailed as error:
                self._failure, bad = kept_error(error), True
                self.tx.stop_run(self.run.run_id, self._failure)
        if bad and (tally.undo_waiting or tally.undo_busy) and self._undo(tally):
            return
        self.tx.skip_undo(self.run.run_id, self.now)
        status = "failed" if self._failure is not None else "cancelled" if bad else "completed"
        if bad:
            output = {one.step_id: one.output for one in steps if one.output is not None} or None
            output = steps[0].output if self.run.kind == "task" else output
        check_run_move(self.run.status, status)
        progress = 1.0 if status == "completed" else None
        self.tx.set_run(self.run.run_id, status, self.now, progress=progress, output=output, error=self._failure)
        self._live = False
        self._drafts += tell_run_end(self.tx, self.run, status, steps, output, self._failure, self.now)

    def _result(self, steps: list[StepRow]) -> dict[str, Any] | None:
        if self.run.kind == "task":
            return steps[0].output
        if self.run.output_mapping is None:
            return {one.step_id: one.output for one in steps if one.output is not None} or None
        source = source_of(self.run, steps)
        return {name: value_of(value, source, f"output.{name}") for name, value in self.run.output_mapping.items()}

    def _undo(self, tally: Tally) -> bool:
        """Whether something is being undone, one step after the other, the last that completed first."""
        if tally.undo_busy:
            return True
        step = self.tx.next_undo(self.run.run_id)
        if step is None:
            return False
        return self.tx.move(step, "ready", self.now)


def hold_all(tx: EngineTx, run_id: str, now: int) -> None:
    """Pauses a locked run and the runs within it. Runs are locked from the outer to the inner only, so that nobody
    who does so waits for another who does. One within that is over, or is paused already, is left as it is."""
    tx.set_run(run_id, "paused", now)
    tx.hold(run_id)
    for child_id in tx.children_live(run_id):
        child = tx.lock_run(child_id)
        if child is not None and child.status in RUN_LIVE and child.status != "paused":
            hold_all(tx, child_id, now)
