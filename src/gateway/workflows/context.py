"""What a step's handler is given: its circumstances, the services it may use, and its progress.

A handler is ``async def (context, data) -> dict``: JSON in, JSON out. It calls models only through
``chat`` and ``predict``, the same path as every other door, so that permission, budget, ledger and
record hold inside workflows too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.errors import StepCancelled, StepFailed, ValidationFailed
from gateway.models.artifacts import ArtifactStore
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat
from gateway.models.plain_text import plain_text
from gateway.models.selection import read_selection
from gateway.registry.model_registry import ModelRegistry
from gateway.registry.prompt_ask import PromptAsk
from gateway.registry.prompt_labels import SplitKey
from gateway.registry.prompt_version import Rendered
from gateway.security.access import Caller
from gateway.serving.answer import ChatAnswer
from gateway.serving.predict import PredictAnswer, PredictRequest
from gateway.workflows.batch_tools import BatchTools

#: Characters of a note that are told.
_LONGEST_NOTE = 500


class ChatPort(Protocol):
    """The part of ``serving.chat.ChatService`` that handlers use."""

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer: ...


class PredictPort(Protocol):
    """The part of ``serving.predict.PredictService`` that handlers use."""

    async def predict(
        self, caller: Caller, request: PredictRequest, call: CallContext, *, provider: str | None = None
    ) -> PredictAnswer: ...


class PromptPort(Protocol):
    """Renders prompt templates."""

    def render(self, ask: PromptAsk, key: SplitKey) -> Rendered: ...


@dataclass(frozen=True, slots=True)
class StepContext:
    """One attempt at one step.

    ``upstream`` holds the outputs of every step that this one comes after, by step id, nearest last.
    """

    task_id: str
    run_id: str
    step_id: str
    workflow_id: str
    attempt: int
    cause: str
    request_id: str
    caller: Caller
    model_config: Mapping[str, Any] | None
    upstream: Mapping[str, dict[str, Any]]
    artifacts: ArtifactStore
    chat: ChatPort
    predict: PredictPort
    registry: ModelRegistry
    prompts: PromptPort
    default_model: Callable[[str], str | None]
    batch: BatchTools | None = None
    tags: str = ""
    #: Runs and steps whose budgets bind its calls; see ``models.run_budget.Bound``.
    within: tuple[str, ...] = ()
    report: Callable[[float, str], None] = field(default=lambda _fraction, _note: None)
    is_cancelled: Callable[[], bool] = field(default=lambda: False)
    #: Whether the step's soft timeout has passed: time to come to an end with what there is.
    is_overdue: Callable[[], bool] = field(default=lambda: False)

    def call(self, number: int = 0, notes: Mapping[str, Any] | None = None) -> CallContext:
        """The circumstances of this attempt's model call ``number``; each number is charged once.
        ``notes`` go into its record."""
        limits = (self.model_config or {}).get("selection")
        return CallContext(
            request_id=self.request_id,
            cause=f"{self.cause}:{number}",
            door="step",
            run_id=self.run_id,
            task_id=self.task_id,
            workflow_id=self.workflow_id,
            tags=self.tags,
            within=self.within,
            selection=None if limits is None else read_selection(limits, "model_config.selection"),
            notes=dict(notes or {}),
        )

    def progress(self, fraction: float, note: str = "") -> None:
        """Tells how far the step is (0 to 1). Safe from any thread; told at most a few times a second. Whatever is
        told, the step goes on: a fraction that is no number counts as 0."""
        known = float(fraction)
        self.report(0.0 if math.isnan(known) else min(max(known, 0.0), 1.0), plain_text(note, _LONGEST_NOTE))

    def raise_if_cancelled(self) -> None:
        """Ends the step where nobody wants its result any more."""
        if self.is_cancelled():
            raise StepCancelled("the step was cancelled while it ran")

    def model_for(self, task_type: str, wished: str = "") -> str:
        """The model the step names, else the ``wished`` one, else the default of its task type."""
        name = (self.model_config or {}).get("name") or wished or self.default_model(task_type)
        if not name:
            raise ValidationFailed(
                f"no model is named and {task_type} has no default",
                mend="name one in model_config.name, or set defaults in config/models.yaml",
                param="model_config.name",
            )
        return str(name)


Handler = Callable[[StepContext, dict[str, Any]], Awaitable[dict[str, Any]]]


class HandlerLeft(Exception):
    """A handler raised what is no error: ``SystemExit``, which would end the loop of all steps, or ``StopIteration``,
    which a thread cannot hand on. Its cause is what was raised."""


def no_figure(task_type: str, place: str) -> StepFailed:
    """An output with a number that is none: kept as null, it would be gone without a word."""
    return StepFailed(
        f"the output of {task_type} is not JSON: {place} is NaN or infinite",
        mend="give a finite number, or null (None) where there is none",
    )


async def handled(handler: Handler, context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """What the handler gives; whatever it raises is an ``Exception``, unless the attempt itself was called off."""
    try:
        return await handler(context, data)
    except asyncio.CancelledError as left:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise HandlerLeft from left
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as left:
        raise HandlerLeft from left
