"""Every task type there is, and how its handler is found.

Handlers are named, not imported: a process that only submits tasks stays light. A package of yours
adds task types through the entry point group ``gateway.task_types`` (each made by ``task_type``, or a
``TaskTypeSpec``), and workflows through ``gateway.workflows`` (each a ``Workflow``, or a definition).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from gateway.engine.task_types import TaskTypeSpec, index
from gateway.errors import ConfigurationInvalid
from gateway.workflows.context import Handler

ENTRY_POINTS = "gateway.task_types"
WORKFLOW_ENTRY_POINTS = "gateway.workflows"

BUILT_IN: tuple[TaskTypeSpec, ...] = (
    TaskTypeSpec(
        name="data_preprocessing",
        summary="Prices to aligned returns, a data-quality report and a feature table",
        queue="cpu",
        handler="gateway.workflows.data_preparation:preprocess",
        inputs=("data", "options"),
        required=("data",),
        outputs=("processed_data", "report", "facts", "plots"),
    ),
    TaskTypeSpec(
        name="data_analysis",
        summary="Moments, tails, volatility, correlation, regimes and scenario parameters",
        queue="cpu",
        handler="gateway.workflows.data_analysis:analyse",
        inputs=("market_data", "options"),
        required=("market_data",),
        outputs=(
            "moments",
            "tails",
            "volatility",
            "correlation",
            "regimes",
            "drawdowns",
            "calibration",
            "facts",
            "plots",
        ),
    ),
    TaskTypeSpec(
        name="anomaly_detection",
        summary="Days that do not fit what came before, with the assets and reasons",
        queue="ml",
        handler="gateway.workflows.risk_analysis:detect_anomalies",
        inputs=("data", "options"),
        required=("data",),
        outputs=("anomalies", "threshold", "false_alarm_rate", "model", "version", "facts", "plots"),
        model_kind="ml",
        permission="ml:execute",
    ),
    TaskTypeSpec(
        name="risk_classification",
        summary="Low, medium or high, with calibrated probabilities and reasons",
        queue="ml",
        handler="gateway.workflows.risk_analysis:classify_risk",
        inputs=("features", "options"),
        required=("features",),
        outputs=(
            "risk_level",
            "probabilities",
            "prediction_set",
            "reasons",
            "as_of",
            "model",
            "version",
            "facts",
            "plots",
        ),
        model_kind="ml",
        permission="ml:execute",
    ),
    TaskTypeSpec(
        name="scenario_generation",
        summary="Joint paths of equity, rates, FX and inflation, seeded",
        queue="cpu",
        handler="gateway.workflows.scenario_gen:generate",
        inputs=("analysis", "paths", "years", "seed", "measure", "stresses"),
        required=("analysis",),
        outputs=("scenarios", "facts", "plots"),
    ),
    TaskTypeSpec(
        name="risk_assessment",
        summary="VaR and expected shortfall with standard errors and backtests",
        queue="cpu",
        handler="gateway.workflows.risk_assessment:assess",
        inputs=("scenarios", "portfolio", "confidence"),
        required=(),
        outputs=("measures", "backtests", "facts", "plots"),
    ),
    TaskTypeSpec(
        name="llm_analysis",
        summary="A language model's reading; in a workflow it gets the earlier results as context",
        queue="llm",
        handler="gateway.workflows.llm_analysis:analyse",
        inputs=("prompt", "messages", "template", "variables", "version", "label", "context"),
        required=(),
        outputs=(
            "response",
            "model",
            "provider",
            "usage",
            "tokens_used",
            "cost",
            "finish_reason",
            "numbers",
            "context_facts",
        ),
        model_kind="llm",
        permission="llm:execute",
    ),
    TaskTypeSpec(
        name="llm_batch",
        summary="The requests of a batch; POST /v1/batches hands it in",
        queue="llm",
        handler="gateway.workflows.llm_batch:run",
        inputs=("batch_id",),
        required=("batch_id",),
        outputs=("batch_id", "batch_status", "request_counts", "output_file_id", "error_file_id"),
        permission="llm:execute",
    ),
    TaskTypeSpec(
        name="price_forecast",
        summary="A price path with intervals, and how the model did in backtests beside the naive one",
        queue="ml",
        handler="gateway.workflows.forecasting:forecast",
        inputs=("data", "asset", "horizon"),
        required=("data",),
        outputs=("forecast", "model", "version", "facts", "plots"),
        model_kind="ml",
        permission="ml:execute",
    ),
    TaskTypeSpec(
        name="portfolio_segmentation",
        summary="Assets grouped by how they behave",
        queue="ml",
        handler="gateway.workflows.segmentation:segment",
        inputs=("data", "options"),
        required=("data",),
        outputs=("segments", "model", "version", "facts", "plots"),
        model_kind="ml",
        permission="ml:execute",
    ),
    TaskTypeSpec(
        name="model_training",
        summary="Train, measure out of sample, register as a new version, promote where asked",
        queue="cpu",
        handler="gateway.workflows.model_training:train",
        inputs=("model", "data", "promote", "seed", "options"),
        required=("model",),
        outputs=("version", "metrics", "comparison", "card", "facts", "plots"),
        permission="models:write",
    ),
)


def known_task_types() -> Mapping[str, TaskTypeSpec]:
    """The built-in task types and those that installed packages bring."""
    brought = []
    for point in entry_points(group=ENTRY_POINTS):
        found = point.load()
        spec = getattr(found, "spec", found)
        if not isinstance(spec, TaskTypeSpec):
            raise ConfigurationInvalid(
                f"the entry point {point.name!r} of {ENTRY_POINTS} is no task type", mend="decorate it with @task_type"
            )
        brought.append(spec)
    return index((*BUILT_IN, *brought))


def installed_workflows() -> tuple[Mapping[str, Any], ...]:
    """The definitions of workflows that installed packages bring."""
    brought = []
    for point in entry_points(group=WORKFLOW_ENTRY_POINTS):
        found = point.load()
        definition = found.definition() if hasattr(found, "definition") else found
        if not isinstance(definition, Mapping):
            raise ConfigurationInvalid(f"the entry point {point.name!r} of {WORKFLOW_ENTRY_POINTS} is no workflow")
        brought.append(definition)
    return tuple(brought)


@cache
def load_handler(path: str) -> Handler:
    """The handler named ``module:function``."""
    module, _, name = path.partition(":")
    return cast(Handler, getattr(import_module(module), name))
