"""Builds what a handler is given from the services of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.clock import Clock
from gateway.engine.rows import RunRow, StepRow
from gateway.models.artifacts import ArtifactRef, HeldArtifacts
from gateway.models.run_budget import bounds_of_run, bounds_of_step
from gateway.models.tags import kept_tags
from gateway.registry.catalogue import Catalogue
from gateway.registry.model_registry import ModelRegistry
from gateway.serving.predict import costs_something
from gateway.tasks.step_calls import CallStore, StepCalls
from gateway.tasks.step_pulse import Pulse
from gateway.tasks.unknown_outcomes import settle
from gateway.workflows.batch_tools import BatchTools
from gateway.workflows.context import ChatPort, PredictPort, PromptPort, StepContext
from gateway.workflows.degrading import degrading


@dataclass(frozen=True, slots=True)
class ContextFactory:
    """The services that every step of this process shares."""

    artifacts: HeldArtifacts
    chat: ChatPort
    predict: PredictPort
    registry: ModelRegistry
    prompts: PromptPort
    catalogue: Callable[[], Catalogue]
    batch: BatchTools | None = None
    calls: CallStore | None = None
    clock: Clock | None = None

    def made_again(self, step: StepRow) -> list[dict[str, Any]]:
        """Calls of unknown outcome that this attempt makes again; see ``tasks.unknown_outcomes``."""
        return [] if self.calls is None else settle(self.calls, step)

    def _paid(self, model: str) -> bool:
        return self.clock is not None and costs_something(self.catalogue(), model, self.clock.now())

    def context(self, run: RunRow, step: StepRow, upstream: Mapping[str, dict[str, Any]], pulse: Pulse) -> StepContext:
        """The context of one attempt; its charges are unique to this token."""
        chat: ChatPort = self.chat
        predict: PredictPort = self.predict
        if self.calls is not None and self.clock is not None:
            chat = predict = StepCalls(run, step, chat, predict, self.calls, self.clock, self._paid)
        own = bounds_of_step(run.run_id, step.spec.step_id, step.spec.budget)
        bounds = (*run.bounds, *bounds_of_run(run.run_id, run.metadata), *own)
        return StepContext(
            task_id=step.task_id,
            run_id=run.run_id,
            step_id=step.step_id,
            workflow_id=run.workflow_id,
            attempt=step.attempts,
            cause=f"{step.task_id}:{step.token}",
            request_id=run.request_id,
            caller=run.caller,
            model_config=step.spec.llm_config,
            upstream=upstream,
            artifacts=_OfTask(self.artifacts, step.task_id),
            chat=degrading(chat, bounds),
            predict=predict,
            registry=self.registry,
            prompts=self.prompts,
            default_model=lambda task_type: self.catalogue().default_model(task_type),
            batch=self.batch,
            tags=kept_tags(run.metadata),
            within=tuple(bound.name for bound in bounds),
            report=pulse.report,
            is_cancelled=pulse.is_cancelled,
            is_overdue=pulse.is_overdue,
        )


@dataclass(frozen=True, slots=True)
class _OfTask:
    """The artifacts, where what a step puts is kept for as long as the step is."""

    artifacts: HeldArtifacts
    task_id: str

    def put(self, content: bytes, media_type: str) -> ArtifactRef:
        return self.artifacts.put(content, media_type, self.task_id)

    def get(self, sha256: str) -> bytes:
        return self.artifacts.get(sha256)
