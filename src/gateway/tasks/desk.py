"""The desk: where work is handed in, asked about and called off. One instance a process; thread safe.

Everything that is accepted is on disk, with its first event, before this returns; only then is the
doorbell rung. A bell that nobody hears is rung again by the orchestrator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, get_args

import msgspec

from gateway.clock import Clock
from gateway.engine.advance import cancel_run
from gateway.engine.children import call_off
from gateway.engine.definition import WorkflowDefinition, parse_definition
from gateway.engine.ports import EngineStore, Executor
from gateway.engine.rows import RunRow, StepRow
from gateway.engine.states import RUN_ENDED, RunState
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import Conflict, NotFound, ValidationFailed
from gateway.events.event import EVENT_TYPES, Event
from gateway.ids import new_id
from gateway.registry.catalogue import Catalogue
from gateway.security.access import Caller
from gateway.store.run_reader import KeptDefinition, RunFound
from gateway.store.runs_within import ChildRun, RunsOfStep
from gateway.tasks.run_making import RunMaker
from gateway.tasks.submission import RunSubmission, TaskSubmission, check_models
from gateway.tasks.views import (
    LISTED,
    STATES_OF_STATUS,
    child_view,
    definition_view,
    run_view,
    runs_of_step_view,
    task_view,
)


class RunReader(Protocol):
    """What the desk asks of the store beside the engine's transactions; see ``store.run_reader``."""

    def run(self, run_id: str) -> RunFound | None: ...

    def task(self, task_id: str) -> tuple[RunRow, StepRow] | None: ...

    def runs(
        self, owner: str | None, *, kind: str | None, status: str | None, workflow_id: str | None, before: str | None,
        limit: int,
    ) -> list[RunRow]: ...  # fmt: skip

    def tasks(
        self, owner: str | None, *, states: Sequence[str] | None, task_type: str | None, run_id: str | None,
        before: str | None, limit: int,
    ) -> list[tuple[RunRow, StepRow]]: ...  # fmt: skip

    def costs(self, task_ids: Sequence[str]) -> dict[str, int]: ...

    def run_costs(self, run_ids: Sequence[str]) -> dict[str, int]: ...

    def children(
        self, run_id: str, *, step_id: str | None, status: str | None, before: str | None, limit: int
    ) -> tuple[list[ChildRun], list[RunsOfStep]]: ...

    def counts(self) -> tuple[dict[str, int], dict[str, int]]: ...

    def define(self, given: WorkflowDefinition, *, source: str, owner: str, now: int) -> KeptDefinition: ...

    def definition(self, workflow_id: str) -> KeptDefinition | None: ...

    def definitions(self) -> list[KeptDefinition]: ...


class EventReader(Protocol):
    """Reads events; see ``store.event_store``."""

    def after(
        self, after: int, *, owner: str | None = None, run_id: str | None = None, task_id: str | None = None,
        types: Sequence[str] = (), limit: int = 500,
    ) -> list[Event]: ...  # fmt: skip

    def latest(self) -> int: ...


class Desk:
    """See the module. ``check_webhook`` refuses an address that may not be called."""

    def __init__(
        self,
        store: EngineStore,
        reader: RunReader,
        events: EventReader,
        executor: Executor,
        catalogue: Callable[[], Catalogue],
        task_types: Mapping[str, TaskTypeSpec],
        clock: Clock,
        check_webhook: Callable[[str], object],
    ) -> None:
        self._store = store
        self._reader = reader
        self._events = events
        self._catalogue = catalogue
        self.task_types = task_types
        self._clock = clock
        #: Makes runs, and begins them.
        self.maker = RunMaker(store, reader.definition, executor, catalogue, task_types, clock, check_webhook)

    # -- handing in -------------------------------------------------------------------------------

    def submit_task(
        self, caller: Caller, given: TaskSubmission, request_id: str, *, task_id: str | None = None
    ) -> dict[str, Any]:
        """Accepts a task: a run of one step. A ``task_id`` that is there already is not made again."""
        caller.require("tasks:write")
        caller.require(given.spec.permission)
        if task_id is not None and self._reader.task(task_id) is not None:
            return self.task(caller, task_id)
        task_id = task_id or new_id("task")
        run, (step,) = self.maker.begin(self.maker.of_task(caller, given, request_id, task_id))
        return task_view(run, step, 0)

    def start_run(
        self, caller: Caller, workflow_id: str, given: RunSubmission, request_id: str, *, run_id: str | None = None
    ) -> dict[str, Any]:
        """Accepts a run of the newest definition of a workflow. A ``run_id`` that is there is not made again."""
        caller.require("workflows:run")
        if run_id is not None and self._reader.run(run_id) is not None:
            return self.run(caller, run_id)
        kept = self._kept(workflow_id)
        run = self.maker.of_definition(caller, kept, given, request_id)
        run = run if run_id is None else msgspec.structs.replace(run, run_id=run_id)
        begun, steps = self.maker.begin(run)
        return run_view(begun, steps, {}, 0)

    # -- asking -----------------------------------------------------------------------------------

    def task(self, caller: Caller, task_id: str) -> dict[str, Any]:
        """A task with its result. ``NotFound`` for somebody else's."""
        run, step = self._task(caller, task_id)
        return task_view(run, step, self._reader.costs([task_id]).get(task_id, 0))

    def tasks(
        self,
        caller: Caller,
        *,
        status: str | None = None,
        task_type: str | None = None,
        run_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> dict[str, Any]:
        """A page of tasks, newest first, without their results."""
        caller.require("tasks:read")
        if status is not None and status not in STATES_OF_STATUS:
            raise ValidationFailed(f"status: one of {', '.join(STATES_OF_STATUS)}", param="status")
        states = None if status is None else STATES_OF_STATUS[status]
        found = self._reader.tasks(
            self._owner(caller), states=states, task_type=task_type, run_id=run_id, before=cursor, limit=limit + 1
        )
        page = found[:limit]
        costs = self._reader.costs([step.task_id for _, step in page])
        return {
            "tasks": [task_view(run, step, costs.get(step.task_id, 0), whole=False) for run, step in page],
            "next_cursor": page[-1][1].task_id if len(found) > limit else None,
        }

    def run(self, caller: Caller, run_id: str) -> dict[str, Any]:
        """A run with its steps."""
        run, steps, costs = self._run(caller, run_id)
        return run_view(run, steps, costs, sum(costs.values()))

    def runs(
        self,
        caller: Caller,
        *,
        status: str | None = None,
        workflow_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> dict[str, Any]:
        """A page of workflow runs, newest first, without steps and output."""
        caller.require("workflows:read")
        _check_run_status(status)
        found = self._reader.runs(
            self._owner(caller), kind="workflow", status=status, workflow_id=workflow_id, before=cursor, limit=limit + 1
        )
        page = found[:limit]
        costs = self._reader.run_costs([run.run_id for run in page])
        return {
            "runs": [run_view(run, None, {}, costs.get(run.run_id, 0)) for run in page],
            "next_cursor": page[-1].run_id if len(found) > limit else None,
        }

    def children(
        self,
        caller: Caller,
        run_id: str,
        *,
        step_id: str | None = None,
        status: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> dict[str, Any]:
        """A page of the runs that are steps of a run or items of its lists, newest first, and by step how many
        there are and what they come to."""
        _check_run_status(status)
        names = [step.step_id for step in self._run(caller, run_id).steps if step.spec.workflow is not None]
        if step_id is not None and step_id not in names:
            known = f"those that do are {', '.join(names)}" if names else "no step of this run does"
            raise ValidationFailed("step_id: no such step that runs a workflow", mend=known, param="step_id")
        found, steps = self._reader.children(run_id, step_id=step_id, status=status, before=cursor, limit=limit + 1)
        page = found[:limit]
        return {
            "children": [child_view(child) for child in page],
            "steps": [runs_of_step_view(item) for item in steps],
            "next_cursor": page[-1].run_id if len(found) > limit else None,
        }

    def graph(self, caller: Caller, run_id: str) -> dict[str, Any]:
        """The steps of a run as nodes, its dependencies as edges."""
        run, steps, _costs = self._run(caller, run_id)
        return {
            "run_id": run.run_id,
            "nodes": [
                {"step_id": view["step_id"], "task_type": view["task_type"], "status": view["status"]}
                for view in (task_view(run, step, 0) for step in steps)
            ],
            "edges": [
                {"from": producer, "to": step.step_id}
                for step in sorted(steps, key=lambda one: one.step_id)
                for producer in sorted(step.spec.dependencies)
            ],
        }

    def events(
        self,
        caller: Caller,
        *,
        after: int,
        run_id: str | None = None,
        task_id: str | None = None,
        types: Sequence[str] = (),
        limit: int = 500,
    ) -> list[Event]:
        """Events that the caller may see, in order. ``NotFound`` for a run or task of somebody else."""
        for name in types:
            if name not in EVENT_TYPES:
                raise ValidationFailed(f"no such event type; they are: {', '.join(EVENT_TYPES)}", param="types")
        if run_id is not None:
            self._run(caller, run_id)
        if task_id is not None:
            self._task(caller, task_id)
        owner = self._owner(caller)
        return self._events.after(after, owner=owner, run_id=run_id, task_id=task_id, types=types, limit=limit)

    def latest_event_id(self) -> int:
        """The newest event's id."""
        return self._events.latest()

    def counts(self) -> dict[str, dict[str, int]]:
        """How many tasks are in each status, and how many wait in each queue."""
        states, depth = self._reader.counts()
        by_status = {
            status: sum(states.get(state, 0) for state in members) for status, members in STATES_OF_STATUS.items()
        }
        return {"tasks": by_status, "queue_depth": {queue: depth.get(queue, 0) for queue in ("llm", "ml", "cpu")}}

    # -- calling off ------------------------------------------------------------------------------

    def cancel_task(self, caller: Caller, task_id: str) -> dict[str, Any]:
        """Cancels a stand-alone task. ``Conflict`` for a step of a workflow, or one that has ended."""
        run, _step = self._task(caller, task_id)
        caller.require("tasks:write")
        if run.kind != "task":
            raise Conflict(
                "this task is a step of a workflow run", mend=f"cancel the run: POST /runs/{run.run_id}/cancel"
            )
        self._cancel(run)
        return self.task(caller, task_id)

    def cancel_run(self, caller: Caller, run_id: str) -> dict[str, Any]:
        """Cancels a run: what has not begun never does, what runs is told to stop."""
        run = self._run(caller, run_id).run
        caller.require("workflows:run")
        self._cancel(run)
        return self.run(caller, run_id)

    # -- definitions ------------------------------------------------------------------------------

    def define(self, caller: Caller, raw: Any) -> dict[str, Any]:
        """Checks a definition and makes it the newest of its workflow."""
        caller.require("workflows:write")
        definition = parse_definition(raw, self.task_types, self._model_known)
        check_models(definition, self.task_types, self._catalogue())
        self.maker.pins(definition)
        return definition_view(
            self._reader.define(definition, source="api", owner=caller.principal, now=self._clock.now())
        )

    def adopt(self, raws: Sequence[Mapping[str, Any]]) -> None:
        """Takes the definitions of ``workflows.yaml``. ``DefinitionInvalid`` names the first wrong one."""
        parsed = [parse_definition(raw, self.task_types, self._model_known) for raw in raws]
        for definition in parsed:
            self._reader.define(definition, source="config", owner="gateway", now=self._clock.now())

    def kept(self, caller: Caller, workflow_id: str) -> KeptDefinition:
        """The newest definition of a workflow, as it is kept."""
        caller.require("workflows:read")
        return self._kept(workflow_id)

    def definition(self, caller: Caller, workflow_id: str) -> dict[str, Any]:
        """The newest definition of a workflow."""
        caller.require("workflows:read")
        return definition_view(self._kept(workflow_id))

    def definitions(self, caller: Caller) -> list[dict[str, Any]]:
        """The newest definition of every workflow."""
        caller.require("workflows:read")
        return [definition_view(kept) for kept in self._reader.definitions()]

    # -- parts ------------------------------------------------------------------------------------

    def _cancel(self, run: RunRow) -> None:
        with self._store.begin() as tx:
            cancelled = cancel_run(tx, run.run_id, None, self._clock.now())
        if cancelled:
            call_off(self._store, run.run_id, self._clock.now())
        if not cancelled and run.status in RUN_ENDED:
            raise Conflict(f"it is {run.status} already", mend="only what has not ended can be cancelled")

    def _task(self, caller: Caller, task_id: str) -> tuple[RunRow, StepRow]:
        caller.require("tasks:read")
        found = self._reader.task(task_id)
        if found is None or not caller.may_see(found[0].owner):
            raise NotFound("no task of that id is yours", mend=LISTED.format("tasks"), param="task_id")
        return found

    def _run(self, caller: Caller, run_id: str) -> RunFound:
        caller.require("workflows:read")
        found = self._reader.run(run_id)
        if found is None or not caller.may_see(found.run.owner):
            raise NotFound("no run of that id is yours", mend=LISTED.format("runs"), param="run_id")
        return found

    def _kept(self, workflow_id: str) -> KeptDefinition:
        kept = self._reader.definition(workflow_id)
        if kept is None:
            raise NotFound("no workflow of that id is defined", mend="GET /workflows lists them", param="workflow_id")
        return kept

    def _model_known(self, name: str) -> bool:
        return name in self._catalogue().models

    @staticmethod
    def _owner(caller: Caller) -> str | None:
        return None if caller.may("runs:read_all") else caller.principal


def _check_run_status(status: str | None) -> None:
    if status is not None and status not in get_args(RunState):
        raise ValidationFailed(f"status: one of {', '.join(get_args(RunState))}", param="status")
