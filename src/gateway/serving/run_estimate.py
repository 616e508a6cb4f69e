"""What a run of a workflow will cost, before it is begun: see ``ledger.run_forecast`` for how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.engine.definition import WorkflowDefinition
from gateway.engine.step_definition import StepDefinition
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import GatewayError
from gateway.governance.policy import output_tokens_bound
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import card_for_llm, card_for_ml
from gateway.ledger.run_forecast import MOST_RUNS, PastStep, RunForecast, StepNow, forecast_run
from gateway.models.llm_models import Usage
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue, ModelSpec
from gateway.security.access import Caller
from gateway.serving.tokens import TokenService
from gateway.store.run_costs import KeptStep

#: Turns of a chat and what stands around them, in tokens: a bound.
_AROUND = 200


class History(Protocol):
    """Completed runs; see ``store.run_costs``."""

    def completed(self, workflow_id: str, limit: int) -> tuple[list[str], list[KeptStep]]: ...


class RunEstimates:
    """Forecasts. Every method blocks on the database, and on counting tokens."""

    def __init__(
        self,
        history: History,
        catalogue: Callable[[], Catalogue],
        task_types: Mapping[str, TaskTypeSpec],
        tokens: TokenService,
        clock: Clock,
    ) -> None:
        self._history = history
        self._catalogue = catalogue
        self._task_types = task_types
        self._tokens = tokens
        self._clock = clock

    def estimate(self, caller: Caller, definition: WorkflowDefinition, given: Mapping[str, Any]) -> RunForecast:
        """The forecast of a run with this input. ``ModelNotFound`` for a model that the caller may not use."""
        catalogue = self._catalogue()
        now = [self._now(caller, catalogue, step, given) for step in definition.steps]
        runs, kept = self._history.completed(definition.workflow_id, MOST_RUNS)
        models = {step.step_id: step.model for step in now}
        past = [self._past(catalogue, item, models.get(item.step_id, "")) for item in kept]
        charged = {item.run_id for item in past}
        # A run that cost nothing is a run as well.
        past += [PastStep(name, "", "", 0, Usage(), 0) for name in runs if name not in charged]
        return forecast_run(now, past)

    def _now(self, caller: Caller, catalogue: Catalogue, step: StepDefinition, given: Mapping[str, Any]) -> StepNow:
        work = self._task_types.get(step.task_type)  # none: it waits for a person, a signal or a run within
        kind = None if work is None else work.model_kind
        config = step.llm_config or {}
        name = config.get("name") or (catalogue.default_model(step.task_type) if kind else None)
        if not name or name not in catalogue.models:
            return StepNow(step.step_id)
        caller.require_model(str(name))
        spec = catalogue.models[str(name)]
        if kind == "ml" and spec.type not in API_MODEL_TYPES:
            return StepNow(step.step_id, spec.name, prediction=self._prediction(catalogue, spec))
        if kind != "llm" or spec.type != "llm":
            return StepNow(step.step_id, spec.name)
        spec = _deployment(catalogue, spec)
        provider = catalogue.provider(spec.provider)
        try:
            card = card_for_llm(spec.name, provider.price_list, spec.upstream_model, spec.price, self._clock.now())
        except GatewayError:
            return StepNow(step.step_id, spec.name)
        text = prompt_of({key: _given(value, given) for key, value in step.input_mapping.items()})
        wanted = (config.get("parameters") or {}).get("max_tokens")
        alone = text is not None and not step.dependencies
        return StepNow(
            step_id=step.step_id,
            model=spec.name,
            card=card,
            prompt_tokens=None if text is None else self._count(catalogue, spec, text),
            most_input=len(text.encode()) + _AROUND if alone and text is not None else spec.context_window,
            max_output=wanted or spec.max_output_tokens,
            output_bound=output_tokens_bound(wanted, spec.max_output_tokens),
            seconds=provider.timeouts.total,
        )

    def _prediction(self, catalogue: Catalogue, spec: ModelSpec) -> PriceCard | None:
        """The price of a predictive model; ``None`` where it is unknown."""
        try:
            return card_for_ml(spec.name, catalogue.provider(spec.provider).type, spec.price, self._clock.now())
        except GatewayError:
            return None

    def _past(self, catalogue: Catalogue, item: KeptStep, model: str) -> PastStep:
        spec = catalogue.models.get(model)
        text = prompt_of(item.input) if spec is not None and spec.type == "llm" else None
        count = None if spec is None or text is None else self._count(catalogue, spec, text)
        return PastStep(item.run_id, item.step_id, item.model, item.calls, item.usage, item.cost, count)

    def _count(self, catalogue: Catalogue, spec: ModelSpec, text: str) -> int:
        counted = self._tokens.count_text(catalogue.provider(spec.provider).type, spec, text)
        return len(text.encode()) // 4 + 1 if counted is None else counted.tokens


def prompt_of(data: Mapping[str, Any]) -> str | None:
    """The words of a step's input that go to its model as they are; ``None`` where they are not known yet."""
    prompt, messages = data.get("prompt"), data.get("messages")
    if isinstance(prompt, str):
        return prompt
    if isinstance(messages, Sequence) and not isinstance(messages, str):
        texts = [turn.get("content") for turn in messages if isinstance(turn, Mapping)]
        if texts and all(isinstance(text, str) for text in texts):
            return "\n".join(map(str, texts))
    return None


def _given(value: Any, given: Mapping[str, Any]) -> Any:
    """What a value of an ``input_mapping`` is as far as the run's input says; ``None`` where a step has to."""
    if isinstance(value, Mapping) and value.keys() == {"value"}:
        return value["value"]
    if not isinstance(value, str) or not value.startswith("input."):
        return None
    found: Any = given
    for name in value.split(".")[1:]:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _deployment(catalogue: Catalogue, spec: ModelSpec) -> ModelSpec:
    """The first that a route would try."""
    return spec if spec.route is None else catalogue.models[spec.route.deployments[0].model]
