"""How a run is made of what was handed in, whoever hands it in; and how it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from gateway.clock import SECOND, Clock
from gateway.engine.claim import dispatch
from gateway.engine.control import begin
from gateway.engine.definition import WorkflowDefinition, check_input, told_of
from gateway.engine.gates import MOST_ITEMS
from gateway.engine.nested import limits_of, names_for, pins_of, served_by
from gateway.engine.ports import EngineStore, Executor
from gateway.engine.rows import KeyedLimit, NewRun, NewStep, RunRow, StepRow
from gateway.engine.step_definition import CONTROL, StepDefinition
from gateway.engine.step_fit import StepFit
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import GatewayError, ValidationFailed
from gateway.ids import new_id
from gateway.registry.catalogue import Catalogue
from gateway.security.access import Caller
from gateway.store.run_reader import KeptDefinition
from gateway.tasks.submission import RunSubmission, Submission, TaskSubmission, check_config, check_default


class RunMaker:
    """One a process; thread safe. ``check_webhook`` refuses an address that may not be called."""

    def __init__(
        self,
        store: EngineStore,
        newest: Callable[[str], KeptDefinition | None],
        executor: Executor,
        catalogue: Callable[[], Catalogue],
        task_types: Mapping[str, TaskTypeSpec],
        clock: Clock,
        check_webhook: Callable[[str], object],
    ) -> None:
        self.store = store
        self._newest = newest
        self.executor = executor
        self.catalogue = catalogue
        self.task_types = task_types
        self.clock = clock
        self._check_webhook = check_webhook

    def of_task(self, caller: Caller, given: TaskSubmission, request_id: str, task_id: str) -> NewRun:
        """A run of one step."""
        step = StepDefinition(
            "task",
            given.spec.name,
            llm_config=given.llm_config,
            timeout=given.timeout,
            on_unknown_outcome=given.on_unknown_outcome,
        )
        run = self.new_run(caller, given, request_id, "task", given.spec.name, given.input_data)
        return msgspec.structs.replace(run, steps=(NewStep(task_id, step, given.spec.queue),))

    def of_definition(self, caller: Caller, kept: KeptDefinition, given: RunSubmission, request_id: str) -> NewRun:
        """A run of a definition, whose steps this caller may do, with an input they can do with."""
        definition = kept.definition
        pins = self.pins(definition, caller)
        self._check_input(definition, given.input)
        run = self.new_run(caller, given, request_id, "workflow", definition.workflow_id, given.input)
        steps = tuple(self.new_step(caller, definition.workflow_id, step) for step in definition.steps)
        return msgspec.structs.replace(
            run, steps=steps, definition_hash=kept.hash, output_mapping=definition.output, pins=pins or None
        )

    def pins(self, definition: WorkflowDefinition, caller: Caller | None = None) -> dict[str, str]:
        """The versions of the workflows within it, and by which models and providers limits count there; with a
        ``caller`` who may do every step of all of them."""

        within: dict[str, WorkflowDefinition] = {}

        def newest(workflow_id: str) -> tuple[WorkflowDefinition, str] | None:
            kept = self._newest(workflow_id)
            if kept is None:
                return None
            self._check_steps(kept.definition, caller)
            within[workflow_id] = kept.definition
            return kept.definition, kept.hash

        self._check_steps(definition, caller)
        pins = pins_of(definition, newest)
        for outer in (definition, *within.values()):
            self._check_within(outer, within)
        return pins | self._served_by(step for one in within.values() for step in one.steps)

    def _check_within(self, definition: WorkflowDefinition, within: Mapping[str, WorkflowDefinition]) -> None:
        """``DefinitionInvalid`` where a step maps what the workflow that it is a run of can never take."""
        fit = StepFit({step.step_id: step for step in definition.steps}, self.task_types, definition.input_schema)
        for at, step in enumerate(definition.steps):
            schema = None if step.workflow is None else within[step.workflow].input_schema
            if schema is not None:
                with told_of(step.step_id):
                    fit.check_within(step, f"steps[{at}]", schema)

    def new_step(self, caller: Caller, workflow_id: str, step: StepDefinition) -> NewStep:
        """A step that has nothing behind it, with its limits made out."""
        return NewStep(new_id("task"), step, self.queue_of(step), limits=self.limits(caller, workflow_id, step))

    def limits(self, caller: Caller, workflow_id: str, step: StepDefinition) -> tuple[KeyedLimit, ...]:
        """See ``engine.nested.limits_of``."""
        if not step.limits:
            return ()
        pins = self._served_by([step])
        named = names_for(step, pins, tenant=caller.tenant, owner=caller.principal, workflow_id=workflow_id)
        return limits_of(step, named)

    def _served_by(self, steps: Iterable[StepDefinition]) -> dict[str, str]:
        catalogue = self.catalogue()

        def provider(name: str) -> str | None:
            model = catalogue.models.get(name)
            return None if model is None else model.provider

        return served_by(steps, catalogue.default_model, provider)

    def new_run(
        self, caller: Caller, given: Submission, request_id: str, kind: str, workflow_id: str, data: dict[str, Any]
    ) -> NewRun:
        """A run that has no steps yet."""
        if given.webhook_url:
            self._check_webhook(given.webhook_url)
        now = self.clock.now()
        later = now + int(given.delay * SECOND) if given.delay else given.not_before or 0
        return NewRun(
            run_id=new_id("run"),
            kind=kind,
            workflow_id=workflow_id,
            definition_hash=None,
            input=data,
            caller=caller,
            request_id=request_id,
            steps=(),
            priority=given.priority,
            metadata=given.metadata,
            webhook_url=given.webhook_url,
            deadline=None if given.timeout is None else max(later, now) + int(given.timeout * SECOND),
            config_epoch=self.catalogue().epoch,
            not_before=later,
        )

    def begin(self, run: NewRun) -> tuple[RunRow, list[StepRow]]:
        """On disk with its first events; then the doorbells. The run and its steps as they are then."""
        now = self.clock.now()
        with self.store.begin() as tx:
            begin(tx, run, now)
            doorbells = dispatch(tx, now, run_id=run.run_id)
            begun, steps = tx.run(run.run_id), tx.steps(run.run_id)
        assert begun is not None  # noqa: S101 - it was just made
        self.executor.ring(doorbells)
        return begun, steps

    def check_step(self, caller: Caller, step: StepDefinition) -> None:
        """``PermissionDenied`` or ``ValidationFailed`` for a step that this caller cannot have done."""
        if step.budget is not None and step.budget.degrade_to:
            with _at("budget.degrade_to"):
                caller.require_model(step.budget.degrade_to)
        if step.task_type in CONTROL:
            return
        spec = self.task_types[step.task_type]
        caller.require(spec.permission)
        if step.llm_config is not None:
            check_config(step.llm_config, spec, self.catalogue(), caller)
        else:
            check_default(spec, step.input_mapping, self.catalogue(), caller)

    def _check_steps(self, definition: WorkflowDefinition, caller: Caller | None) -> None:
        for at, step in enumerate(definition.steps):
            if caller is not None:
                with told_with(step.step_id, definition.workflow_id, f"steps[{at}]"):
                    self.check_step(caller, step)

    def queue_of(self, step: StepDefinition) -> str:
        """Where a step is worked on."""
        return "cpu" if step.task_type in CONTROL else self.task_types[step.task_type].queue

    def _check_input(self, definition: WorkflowDefinition, data: Mapping[str, Any]) -> None:
        """The input fits the workflow's schema, and every field that a step cannot do without is there."""
        check_input(definition, data)
        for step in definition.steps:
            required = () if step.task_type in CONTROL else self.task_types[step.task_type].required
            for name in required if step.when is None else ():
                reference = step.input_mapping.get(name)
                if isinstance(reference, str) and reference.startswith("input."):
                    _require(data, reference.split(".")[1], f"the step {step.step_id!r} needs it as {name!r}")
            over = None if step.for_each is None else step.for_each.over
            if isinstance(over, str) and over.startswith("input."):
                wanted = over.split(".")[1]
                _require(data, wanted, f"the step {step.step_id!r} is done for each item of it")
                if over.count(".") == 1:
                    _refuse_no_list(data[wanted], wanted, step.step_id)


@contextmanager
def _at(param: str) -> Iterator[None]:
    try:
        yield
    except GatewayError as error:
        error.param = param
        raise


@contextmanager
def told_with(step_id: str, workflow_id: str, path: str, config: str | None = None) -> Iterator[None]:
    """What is wrong with a step for this caller is told with the step and its place; ``config`` is where its
    ``model_config`` stands, if not in the step."""
    try:
        yield
    except GatewayError as error:
        error.message = f"{error.message} (step {step_id!r} of {workflow_id!r})"
        error.details = {**error.details, "step": step_id}
        field = {"model": "model_config.name"}.get(error.param or "", error.param or "")
        head, _, rest = field.partition(".")
        place = (config or f"{path}.model_config") if head == "model_config" else f"{path}.{head}".rstrip(".")
        error.param = f"{place}.{rest}" if rest else place
        raise


def _refuse_no_list(given: Any, wanted: str, step_id: str) -> None:
    wrong = "is no list" if not isinstance(given, list) else f"has {len(given)} items, at most {MOST_ITEMS} are done"
    if not isinstance(given, list) or len(given) > MOST_ITEMS:
        raise ValidationFailed(
            f"input.{wanted} {wrong}", mend=f"the step {step_id!r} is done for each item of it", param=f"input.{wanted}"
        )


def _require(data: Mapping[str, Any], wanted: str, why: str) -> None:
    if wanted not in data:
        raise ValidationFailed(f"input.{wanted} is missing", mend=why, param=f"input.{wanted}")
