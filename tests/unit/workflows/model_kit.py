"""The built-in models in a registry in memory, and steps that may call them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

import jsonschema_rs
import msgspec

from gateway.clock import SystemClock
from gateway.errors import NotFound
from gateway.governance.feature_validation import check_features
from gateway.ml.runtime import ModelRuntime
from gateway.ml.training import TrainedModel
from gateway.models.artifacts import ArtifactRef
from gateway.models.call import CallContext
from gateway.models.ml_models import ModelVersion
from gateway.registry.model_registry import Alias, ModelRegistry
from gateway.risk.market_data import bundled
from gateway.security.access import Caller, caller_for
from gateway.serving.answer import AnswerMeta
from gateway.serving.predict import PredictAnswer, PredictRequest
from gateway.workflows.built_in_task_types import BUILT_IN
from gateway.workflows.builtin_models import BUILTIN, FIRST_SEED, new_version
from gateway.workflows.context import ChatPort, Handler, PromptPort, StepContext
from gateway.workflows.training_data import risk_data

DEFAULTS = {
    "anomaly_detection": "market-anomaly",
    "risk_classification": "risk-classifier",
    "price_forecast": "price-forecaster",
    "portfolio_segmentation": "portfolio-segments",
}

_SPECS = {spec.handler: spec for spec in BUILT_IN}


@cache
def prepared(name: str) -> Any:
    """The training data of a built-in model, made once a session from the bundled market data."""
    model = BUILTIN[name]
    if model.prepare is risk_data and name != "risk-classifier":
        return prepared("risk-classifier")
    return model.prepare(bundled("sp500-20"), FIRST_SEED)


@cache
def trained(name: str) -> TrainedModel:
    """The built-in model, trained once a session on the bundled data."""
    return BUILTIN[name].train(prepared(name), FIRST_SEED)


class Shelf:
    """Artifacts in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, content: bytes, media_type: str) -> ArtifactRef:
        digest = hashlib.sha256(content).hexdigest()
        self.kept[digest] = content
        return ArtifactRef(digest, media_type, len(content))

    def get(self, sha256: str) -> bytes:
        if sha256 not in self.kept:
            raise NotFound("no such artifact")
        return self.kept[sha256]


class Rows:
    """A registry's rows in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, list[ModelVersion]] = {}
        self.aliases: dict[tuple[str, str], Alias] = {}

    def add(self, version: ModelVersion) -> ModelVersion:
        versions = self.kept.setdefault(version.model, [])
        numbered = msgspec.structs.replace(version, version=len(versions) + 1)
        versions.append(numbered)
        return numbered

    def version(self, model: str, version: int) -> ModelVersion | None:
        return next((one for one in self.kept.get(model, []) if one.version == version), None)

    def versions(self, model: str) -> list[ModelVersion]:
        return self.kept.get(model, [])[::-1]

    def alias(self, model: str, alias: str) -> Alias | None:
        return self.aliases.get((model, alias))

    def point(self, model: str, alias: str, version: int, by: str, now: int, *, only_if_absent: bool = False) -> Alias:
        known = self.aliases.get((model, alias))
        if known is None or not only_if_absent:
            known = Alias(model, alias, version, known.version if known else None, by, now)
            self.aliases[model, alias] = known
        return known

    def swap_back(self, model: str, alias: str, by: str, now: int) -> Alias | None:
        known = self.aliases.get((model, alias))
        if known is None or known.previous is None:
            return None
        return self.point(model, alias, known.previous, by, now)

    def models(self) -> list[str]:
        return sorted(self.kept)


class Direct:
    """Predictions without price and permission: registry, checked features, runtime."""

    def __init__(self, registry: ModelRegistry, shelf: Shelf) -> None:
        self.registry = registry
        self.runtime = ModelRuntime(shelf)
        self.requests: list[PredictRequest] = []
        self.causes: list[str] = []

    async def predict(
        self, caller: Caller, request: PredictRequest, call: CallContext, *, provider: str | None = None
    ) -> PredictAnswer:
        self.requests.append(request)
        self.causes.append(call.cause)
        version = self.registry.resolve(request.model, request.version, request.alias)
        features = check_features(
            version.schema, request.inputs, explain=request.explain, parameters=request.parameters
        )
        prediction = await asyncio.to_thread(self.runtime.predictor(version).predict, features)
        meta = AnswerMeta(call.request_id, request.model, "builtin", f"{request.model}:{version.version}", 0)
        return PredictAnswer(request.model, version.version, version.family, prediction, meta)


class Bench:
    """A step's surroundings: what is registered, what was asked, how far it told it was."""

    def __init__(self, *models: str, role: str = "admin") -> None:
        self.shelf, self.rows = Shelf(), Rows()
        self.registry = ModelRegistry(self.rows, self.shelf, SystemClock())
        for name in models:
            self.registry.register(new_version(name, trained(name), "first"))
        self.predict = Direct(self.registry, self.shelf)
        self.caller = caller_for("tester", role)
        self.progress: list[float] = []
        self.cancelled = False

    def context(self, model_config: Mapping[str, Any] | None = None) -> StepContext:
        return StepContext(
            task_id="t",
            run_id="r",
            step_id="s",
            workflow_id="w",
            attempt=1,
            cause="t:1",
            request_id="q",
            caller=self.caller,
            model_config=model_config,
            upstream={},
            artifacts=self.shelf,
            chat=cast(ChatPort, None),
            predict=self.predict,
            registry=self.registry,
            prompts=cast(PromptPort, None),
            default_model=DEFAULTS.get,
            report=lambda fraction, _note: self.progress.append(fraction),
            is_cancelled=lambda: self.cancelled,
        )

    def run(
        self, handler: Handler, data: dict[str, Any], model_config: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The handler's output, checked: JSON can hold it, it is what its task type says of input and output, its
        facts and plots keep the house's shape."""
        spec = _SPECS[f"{handler.__module__}:{handler.__qualname__}"]

        async def one_step() -> dict[str, Any]:
            return await handler(self.context(model_config), data)

        output = asyncio.run(one_step())
        assert spec.input_schema is not None
        assert spec.output_schema is not None
        jsonschema_rs.validate(spec.input_schema, data)
        jsonschema_rs.validate(spec.output_schema, output)
        assert output.keys() <= set(spec.outputs)
        assert msgspec.json.decode(msgspec.json.encode(output)) == output
        assert len(msgspec.json.encode(output)) < 4_000_000
        assert 1 <= len(output["facts"]) <= 12
        for fact in output["facts"]:
            assert {"name", "value", "unit"} <= set(fact)
        for plot in output["plots"].values():
            assert len(plot["x"]) <= 500
            assert all(len(values) == len(plot["x"]) for values in plot["series"].values())
        return output
