"""The story of a prediction: permission, version, checked features, price, answer, entry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from gateway.errors import GatewayError, NotSupported, UpstreamError, ValidationFailed
from gateway.governance.feature_validation import check_features
from gateway.ledger.pricing import card_for_ml, cost_ml, worst_case_ml
from gateway.models.call import CallContext
from gateway.models.custom_models import load_predictor
from gateway.models.ml_models import Features, ModelVersion, Prediction, Predictor
from gateway.models.selection import refuse_selection
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue, ModelSpec
from gateway.registry.model_registry import ModelRegistry
from gateway.security.access import Caller
from gateway.security.limits import Limits, LimitState
from gateway.serving.accounts import Accounts
from gateway.serving.answer import AnswerMeta

#: The longest one prediction may take, in seconds: bounds what a model priced by time can cost.
MOST_SECONDS = 60.0


class PredictRequest(Struct, frozen=True):
    """What is asked of a predictive model. ``inputs`` as a caller writes them; checked against the schema."""

    model: str
    inputs: dict[str, Any]
    version: int | None = None
    alias: str | None = None
    explain: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)


class PredictAnswer(Struct, frozen=True):
    """The answer, the version that gave it, and what it cost."""

    model: str
    version: int
    family: str
    prediction: Prediction
    meta: AnswerMeta


class PredictorSource(Protocol):
    """Loaded models, by version."""

    def predictor(self, version: ModelVersion) -> Predictor: ...


class PredictService:
    """Answers ``PredictRequest``s; one instance a process."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        registry: ModelRegistry,
        source: PredictorSource,
        accounts: Accounts,
        limits: Limits,
    ) -> None:
        self._catalogue = catalogue
        self._registry = registry
        self._source = source
        self._accounts = accounts
        self._limits = limits

    async def predict(
        self, caller: Caller, request: PredictRequest, call: CallContext, *, provider: str | None = None
    ) -> PredictAnswer:
        """The predictions, in order. The work is done in threads; a caller that leaves still pays."""
        caller.require("ml:execute")
        caller.require_model(request.model)
        catalogue = self._catalogue()
        spec = catalogue.model(request.model)
        _check_kind(spec, provider)
        if call.selection is not None:
            refuse_selection(call.selection, spec.name)
        state = await self._limits.admit(caller, model=spec.name, tokens=0, of_model=spec.limits)
        return await asyncio.shield(self._released(state, self._answer(catalogue, spec, caller, request, call, state)))

    async def _released(self, state: LimitState, answer: Awaitable[PredictAnswer]) -> PredictAnswer:
        """The answer; then what the call held is free."""
        try:
            return await answer
        finally:
            self._limits.release(state)

    async def _answer(
        self,
        catalogue: Catalogue,
        spec: ModelSpec,
        caller: Caller,
        request: PredictRequest,
        call: CallContext,
        state: LimitState,
    ) -> PredictAnswer:
        version, features, predictor = await asyncio.to_thread(self._ready, catalogue, spec, request)
        provider_type = catalogue.provider(spec.provider).type
        card = card_for_ml(spec.name, provider_type, spec.price, self._accounts.now())
        rows = max(len(features.rows), 1)
        account = await self._accounts.open(
            caller,
            call,
            catalogue,
            spec,
            "ml",
            worst_case_ml(card, max_seconds=MOST_SECONDS, rows=rows),
            card.name,
            notes={**call.notes, "config": catalogue.epoch},
        )
        started = time.perf_counter_ns()
        try:
            prediction = await asyncio.to_thread(predictor.predict, features)
        except Exception as error:
            code = error.code if isinstance(error, GatewayError) else "model_failed"
            self._accounts.release(account, code, _micros(started))
            if isinstance(error, GatewayError):
                raise
            raise UpstreamError(f"the model {spec.name} failed on this input") from error
        micros = _micros(started)
        settled = self._accounts.settle(
            account,
            cost=cost_ml(card, micros, rows),
            micros=micros,
            rows=rows,
            upstream_model=f"{spec.name}:{version.version}",
        )
        meta = AnswerMeta(
            request_id=call.request_id,
            model=spec.name,
            provider=spec.provider,
            upstream_model=f"{spec.name}:{version.version}",
            cost=settled.entry.cost,
            config_epoch=catalogue.epoch,
            entry_id=settled.entry.entry_id,
            latency_micros=micros,
            limits=state,
        )
        return PredictAnswer(spec.name, version.version, version.family, prediction, meta)

    def _ready(
        self, catalogue: Catalogue, spec: ModelSpec, request: PredictRequest
    ) -> tuple[ModelVersion, Features, Predictor]:
        """The version that answers, what it is asked, and the loaded model; blocks."""
        version = self._registry.resolve(spec.name, request.version, request.alias or spec.alias)
        features = _features(version, request)
        return version, features, self._predictor(catalogue, spec, version)

    def _predictor(self, catalogue: Catalogue, spec: ModelSpec, version: ModelVersion) -> Predictor:
        if catalogue.provider(spec.provider).type == "python":
            return load_predictor(spec.upstream_model or spec.name, spec.options)
        return self._source.predictor(version)


def costs_something(catalogue: Catalogue, model: str, at: int) -> bool:
    """Whether a prediction of that model can cost anything at the time ``at``. What cannot be asked at all (no such
    model, no price) costs nothing: it is refused."""
    try:
        spec = catalogue.model(model)
        card = card_for_ml(spec.name, catalogue.provider(spec.provider).type, spec.price, at)
    except GatewayError:
        return False
    return worst_case_ml(card, max_seconds=MOST_SECONDS, rows=1) > 0


def _features(version: ModelVersion, request: PredictRequest) -> Features:
    inputs: Mapping[str, Any] = request.inputs
    checked = check_features(version.schema, inputs)
    return Features(checked.rows, checked.horizon, request.explain, request.parameters)


def _check_kind(spec: ModelSpec, provider: str | None) -> None:
    if spec.type in API_MODEL_TYPES:
        kind = "language" if spec.type == "llm" else spec.type
        raise NotSupported(
            f"{spec.name} is a {kind} model, not a predictive one",
            mend="send it to /execute/llm or one of the doors under /v1",
            param="model_config.name",
        )
    if provider is not None and provider != spec.provider:
        raise ValidationFailed(
            f"{spec.name} is served by the provider {spec.provider!r}",
            mend=f'leave provider out, or write "{spec.provider}"',
            param="model_config.provider",
        )


def _micros(started: int) -> int:
    return (time.perf_counter_ns() - started) // 1000
