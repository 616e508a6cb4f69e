"""Runs workflows and task types in memory: the real engine, a clock that a test holds, no server and no network.

    with MemoryGateway(models={"gpt-4": "calm"}) as gateway:
        run = gateway.run(workflow, {"question": "How is it?"})
        assert run.output["explain"]["response"] == "calm"

Steps run one after another, in the order in which the engine hands them out. Where all that is left has to
wait (a pause before the next attempt), the clock is moved on. Models answer what the test says they do.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from msgspec import Struct

from gateway.clock import SECOND
from gateway.engine.control import Decision, decide, signal
from gateway.engine.ports import EngineTx
from gateway.engine.recovery import sweep
from gateway.engine.rows import Doorbell
from gateway.engine.states import RUN_ENDED
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import NotFound, StepFailed
from gateway.events.event import Event
from gateway.ids import new_id
from gateway.models.artifacts import ArtifactRef
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Choice, Reply, TextPart, Usage
from gateway.registry.catalogue import Catalogue, ModelSpec
from gateway.registry.loader import load_catalogue
from gateway.registry.model_registry import ModelRegistry
from gateway.registry.prompt_results import PromptResults
from gateway.registry.prompts import PromptService
from gateway.security.access import Caller, caller_for
from gateway.serving.answer import AnswerMeta, ChatAnswer
from gateway.serving.predict import PredictAnswer, PredictRequest
from gateway.settings import default_config_dir
from gateway.store.engine import Database
from gateway.store.engine_store import SqlEngineStore
from gateway.store.event_store import SqlEventStore
from gateway.store.prompt_result_store import SqlPromptResultStore
from gateway.store.prompt_store import SqlPromptStore
from gateway.store.registry_store import SqlRegistryStore
from gateway.store.run_reader import SqlRunReader
from gateway.store.tables import metadata
from gateway.tasks.desk import Desk
from gateway.tasks.runner import StepRunner
from gateway.tasks.step_context import ContextFactory
from gateway.tasks.submission import read_run, read_task
from gateway.workflows.task_types import known_task_types
from gateway.workflows.typed_task import TaskType
from gateway.workflows.workflow import Workflow

#: Monday 2026-01-05 08:00 UTC, in microseconds: when the clock of a test begins.
MORNING = 1_767_600_000_000_000
_MOST_TURNS = 10_000

#: What a language model says: a text, or a function of the chat.
Says = str | Callable[[Chat], str]
#: What a predictive model says: a function of what it is asked.
Predicts = Callable[[PredictRequest], PredictAnswer]


class FakeClock:
    """Time that passes when a test says so, or when nothing is left to do but wait."""

    def __init__(self, now: int = MORNING) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> int:
        """Microseconds since 1970."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the test began."""
        return self._monotonic

    def pass_seconds(self, seconds: float) -> None:
        """That much later."""
        self._now += round(seconds * SECOND)
        self._monotonic += seconds


class Outcome(Struct, frozen=True):
    """How a run or a task went. ``steps`` by id, as the REST interface shows them; ``output`` is the run's
    output, or the task's result."""

    run_id: str
    status: str
    output: dict[str, Any] | None
    error: dict[str, Any] | None
    steps: dict[str, dict[str, Any]]
    events: tuple[Event, ...]


class MemoryGateway:
    """A gateway for one test; a context manager. ``task_types`` are those that no installed package brings
    (those that a ``Workflow`` was given as objects are known by themselves), ``models`` what language models
    say by name, ``predictions`` what predictive models say, ``caller`` who is asking (an admin)."""

    def __init__(
        self,
        *,
        task_types: Sequence[TaskType[Any, Any] | TaskTypeSpec] = (),
        models: Mapping[str, Says] | None = None,
        predictions: Mapping[str, Predicts] | None = None,
        caller: Caller | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.caller = caller or caller_for("test", "admin")
        #: The chats that language models were asked, in order.
        self.chats: list[Chat] = []
        self.artifacts = MemoryArtifacts()
        self._task_types = dict(known_task_types())
        self._learn(task_types)
        self._catalogue = _with_models(load_catalogue(default_config_dir(), {}), models or {}, predictions or {})
        self._database = Database(f"sqlite:///file:/{new_id('test')}?vfs=memdb&uri=true")
        self._open = self._database.engine.connect()  # the database lives as long as one connection does
        with self._database.begin() as connection:
            metadata.create_all(connection)
        self._store, self._events = SqlEngineStore(self._database), SqlEventStore(self._database)
        self._bells: deque[Doorbell] = deque()
        prompts = PromptService(
            SqlPromptStore(self._database),
            self.clock,
            PromptResults(SqlPromptResultStore(self._database), self.clock),
        )
        contexts = ContextFactory(
            self.artifacts,
            _Models(self.chats, models or {}),
            _Predictors(predictions or {}),
            ModelRegistry(SqlRegistryStore(self._database), self.artifacts, self.clock),
            prompts,
            lambda: self._catalogue,
        )
        self._runner = StepRunner(self._store, contexts, self._task_types, self.clock, _NoLedger(), worker="test")
        self._runner.ring_with(self)
        self._desk = Desk(
            self._store,
            SqlRunReader(self._database),
            self._events,
            self,
            lambda: self._catalogue,
            self._task_types,
            self.clock,
            lambda _url: None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it; nothing is left behind."""
        self._runner.close()
        self._open.close()
        self._database.close()

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        """Steps that may be run now; see ``engine.ports.Executor``."""
        self._bells.extend(doorbells)

    def run(self, workflow: Workflow | Mapping[str, Any], data: Mapping[str, Any] | None = None) -> Outcome:
        """Defines the workflow, runs it with this input, and says how it went. A run that waits for
        somebody from outside comes back as it stands."""
        self.define(workflow)
        name = workflow.workflow_id if isinstance(workflow, Workflow) else str(workflow["workflow_id"])
        asked = read_run({"input": dict(data or {})})
        started = self._desk.start_run(self.caller, name, asked, new_id("req"))
        return self.go_on(started["run_id"])

    def run_task(
        self,
        task_type: str | TaskType[Any, Any],
        data: Mapping[str, Any] | None = None,
        *,
        model_config: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Runs one task, as ``POST /tasks`` would."""
        if isinstance(task_type, TaskType):
            self._learn([task_type])
        name = task_type if isinstance(task_type, str) else task_type.spec.name
        body: dict[str, Any] = {"task_type": name, "input_data": dict(data or {})}
        if model_config is not None:
            body["model_config"] = dict(model_config)
        given = read_task(body, self._task_types, self._catalogue, self.caller)
        started = self._desk.submit_task(self.caller, given, new_id("req"))
        return self.go_on(started["run_id"])

    def define(self, workflow: Workflow | Mapping[str, Any]) -> None:
        """Makes it known, for workflows that run it as a step; those that are given as objects are known already."""
        if isinstance(workflow, Workflow):
            for within in workflow.workflows:
                self.define(within)
            self._learn(list(workflow.task_types.values()))
        raw = workflow.definition() if isinstance(workflow, Workflow) else dict(workflow)
        self._desk.define(self.caller, raw)

    def approve(
        self, run_id: str, step_id: str, *, approved: bool = True, reason: str = "", by: Caller | None = None
    ) -> Outcome:
        """Somebody's word (the caller's unless ``by`` says whose) on a step that waits for it; how the run went on."""
        word = Decision(approved, (by or self.caller).principal, reason, self.clock.now())
        with self._store.begin() as tx:
            decide(tx, by or self.caller, run_id, step_id, word)
        return self.go_on(run_id)

    def signal(self, run_id: str, name: str, payload: Any = None) -> Outcome:
        """Sends the run a signal; how it went on."""
        with self._store.begin() as tx:
            signal(tx, run_id, name, payload, self.caller.principal, self.clock.now())
        return self.go_on(run_id)

    def go_on(self, run_id: str) -> Outcome:
        """Runs what can be run of it, and moves the clock on where all that is left has its time to wait."""
        for turn in itertools.count():
            while self._bells:
                bell = self._bells.popleft()
                self._runner.run(bell.task_id, bell.token)
            if self._desk.run(self.caller, run_id)["status"] in RUN_ENDED:
                break
            if turn > _MOST_TURNS:
                raise StepFailed(f"the run did not end in {_MOST_TURNS} turns")
            if not sweep(self._store, self, self.clock.now()).busy and not self._wait(run_id):
                break
        return self._outcome(run_id)

    def _wait(self, run_id: str) -> bool:
        """Moves the clock to the next step's time, of the run and of those within. False: nothing waits for time
        alone."""
        with self._store.read() as tx:
            later = [time for time in _times(tx, run_id) if time > self.clock.now()]
        if not later:
            return False
        self.clock.pass_seconds((min(later) - self.clock.now()) / SECOND)
        return True

    def _learn(self, brought: Sequence[TaskType[Any, Any] | TaskTypeSpec]) -> None:
        for item in brought:
            spec = item.spec if isinstance(item, TaskType) else item
            self._task_types[spec.name] = spec

    def _outcome(self, run_id: str) -> Outcome:
        view = self._desk.run(self.caller, run_id)
        return Outcome(
            run_id=run_id,
            status=view["status"],
            output=view["output"],
            error=view["error"],
            steps={step["step_id"]: step for step in view["steps"]},
            events=tuple(self._events.after(0, run_id=run_id, limit=_MOST_TURNS)),
        )


def _times(tx: EngineTx, run_id: str) -> Iterator[int]:
    """When the steps of a run can begin that are ready, and those of its lists and of the runs within."""
    for step in tx.steps(run_id):
        items = tx.items(step.task_id) if step.state == "gathering" and step.spec.for_each is not None else []
        yield from (one.not_before for one in (step, *items) if one.state == "ready")
    for child in tx.children_live(run_id):
        yield from _times(tx, child)


class MemoryArtifacts:
    """Artifacts in memory; see ``models.artifacts.ArtifactStore``."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def put(self, content: bytes, media_type: str, holder: str = "") -> ArtifactRef:
        """Keeps the bytes."""
        digest = hashlib.sha256(content).hexdigest()
        self._kept[digest] = content
        return ArtifactRef(digest, media_type, len(content))

    def get(self, sha256: str) -> bytes:
        """The bytes. ``NotFound`` otherwise."""
        if sha256 not in self._kept:
            raise NotFound("no artifact of that hash was put")
        return self._kept[sha256]


class _Models:
    """Language models that say what the test says they do."""

    def __init__(self, asked: list[Chat], says: Mapping[str, Says]) -> None:
        self._asked = asked
        self._says = says

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer:
        says = self._says.get(chat.model)
        if says is None:
            raise StepFailed(
                f"the test does not say what the model {chat.model!r} answers",
                mend=f'MemoryGateway(models={{"{chat.model}": "…"}})',
            )
        self._asked.append(chat)
        text = says if isinstance(says, str) else says(chat)
        reply = Reply(new_id("chat"), chat.model, (Choice((TextPart(text),), "stop"),), Usage())
        return ChatAnswer(reply, AnswerMeta(call.request_id, chat.model, provider or "test", chat.model, 0))


class _Predictors:
    """Predictive models that say what the test says they do."""

    def __init__(self, says: Mapping[str, Predicts]) -> None:
        self._says = says

    async def predict(
        self, caller: Caller, request: PredictRequest, call: CallContext, *, provider: str | None = None
    ) -> PredictAnswer:
        says = self._says.get(request.model)
        if says is None:
            raise StepFailed(
                f"the test does not say what the model {request.model!r} predicts",
                mend=f'MemoryGateway(predictions={{"{request.model}": …}})',
            )
        return says(request)


class _NoLedger:
    """Nothing is charged in a test."""

    def look(self) -> None:
        """There are no budgets."""

    def flush(self) -> None:
        """There are no entries."""


def _with_models(catalogue: Catalogue, says: Mapping[str, Says], predicts: Mapping[str, Predicts]) -> Catalogue:
    """The catalogue with rows for the models that only the test knows."""
    rows = {name: ModelSpec(name, "llm", "local") for name in says}
    rows |= {name: ModelSpec(name, "classification", "builtin") for name in predicts}
    return Catalogue(
        catalogue.epoch, catalogue.providers, {**rows, **catalogue.models}, catalogue.defaults, catalogue.workflows
    )
