"""The task types that come with the gateway, with JSON schemas of what each takes and gives.

``GET /task-types`` shows them, and a definition that maps what cannot fit is refused by them. What the
schemas leave open (levels, dates, which option goes with which) each handler checks itself, by name.
"""

from __future__ import annotations

from typing import Any

from gateway.engine.task_types import TaskTypeSpec

Schema = dict[str, Any]


def _of(kinds: str, description: str = "", **more: Any) -> Schema:
    """``_of("array|null", "…")``: a value of one of these JSON types."""
    names = kinds.split("|")
    told = {"description": description} if description else {}
    return {"type": names[0] if len(names) == 1 else names, **told, **more}


def _object(fields: dict[str, Schema], required: tuple[str, ...]) -> Schema:
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def _spec(
    name: str,
    summary: str,
    handler: str,
    *,
    queue: str,
    takes: dict[str, Schema],
    required: tuple[str, ...] = (),
    gives: dict[str, Schema],
    model_kind: str | None = None,
    permission: str = "tasks:write",
) -> TaskTypeSpec:
    return TaskTypeSpec(
        name=name,
        summary=summary,
        queue=queue,
        handler=f"gateway.workflows.{handler}",
        inputs=tuple(takes),
        required=required,
        outputs=tuple(gives),
        model_kind=model_kind,
        permission=permission,
        input_schema=_object(takes, required),
        output_schema={"type": "object", "properties": gives},
    )


_MARKET = _of(
    "object|array|string",
    'market data: {"dataset": "sp500-20"}, records, columns, CSV text, or what data_preprocessing gave',
)
_OPTIONS = "what may differ from the usual, by name"
#: What every step for people gives: what may be said of it, and pictures.
_TOLD = {
    "facts": _of("array", "values that a later text may speak of", items=_of("object")),
    "plots": _of("object", "pictures by name"),
}
_MODEL = {"model": _of("string", "the model that answered"), "version": _of("integer", "its version")}

BUILT_IN: tuple[TaskTypeSpec, ...] = (
    _spec(
        "data_preprocessing",
        "Prices to aligned returns, a data-quality report and a feature table",
        "data_preparation:preprocess",
        queue="cpu",
        takes={"data": _MARKET, "options": _of("object|null", f"{_OPTIONS}: winsorise (a quantile)")},
        required=("data",),
        gives={
            "processed_data": _of("object", "the aligned prices: an artifact and what it holds"),
            "report": _of("object", "what was filled, dropped and cut"),
            **_TOLD,
        },
    ),
    _spec(
        "data_analysis",
        "Moments, tails, volatility, correlation, regimes and scenario parameters",
        "data_analysis:analyse",
        queue="cpu",
        takes={"market_data": _MARKET, "options": _of("object|null")},
        required=("market_data",),
        gives={
            "dataset": _of("string|null"),
            "start": _of("string", "the first day"),
            "end": _of("string", "the last day"),
            "assets": _of("array", items=_of("string")),
            "moments": _of("object"),
            "tails": _of("object", "VaR and expected shortfall of one day, as fractions"),
            "volatility": _of("object"),
            "correlation": _of("object"),
            "regimes": _of("object"),
            "drawdowns": _of("array", items=_of("object")),
            "calibration": _of("object", "what scenario_generation draws with"),
            **_TOLD,
        },
    ),
    _spec(
        "anomaly_detection",
        "Days that do not fit what came before, with the assets and reasons",
        "risk_analysis:detect_anomalies",
        queue="ml",
        takes={"data": _MARKET, "options": _of("object|null", f"{_OPTIONS}: false_alarm_rate, most, order")},
        required=("data",),
        gives={
            "anomalies": _of("array", "the unusual days that are listed", items=_of("object")),
            "total": _of("integer", "how many there are"),
            "listed": _of("integer"),
            "order": _of("string"),
            "threshold": _of("number", "the score above which a day is unusual, nats"),
            "false_alarm_rate": _of("number|null"),
            **_MODEL,
            **_TOLD,
        },
        model_kind="ml",
        permission="ml:execute",
    ),
    _spec(
        "risk_classification",
        "Low, medium or high, with calibrated probabilities and reasons",
        "risk_analysis:classify_risk",
        queue="ml",
        takes={
            "features": {**_MARKET, "description": f"{_MARKET['description']}, or one row of feature values"},
            "options": _of("object|null", f"{_OPTIONS}: as_of, coverage"),
        },
        required=("features",),
        gives={
            "risk_level": _of("string"),
            "probabilities": _of("object", "by level", additionalProperties=_of("number")),
            "prediction_set": _of("array", "levels that cannot be ruled out", items=_of("string")),
            "coverage": _of("number|null", "how often such a set holds the level"),
            "reasons": _of("array", items=_of("object")),
            "out_of_range": _of("array", "features beyond what the model was fitted on", items=_of("string")),
            "as_of": _of("string"),
            **_MODEL,
            **_TOLD,
        },
        model_kind="ml",
        permission="ml:execute",
    ),
    _spec(
        "scenario_generation",
        "Joint paths of equity, rates, FX and inflation, seeded",
        "scenario_gen:generate",
        queue="cpu",
        takes={
            "analysis": _of("object", "what data_analysis gave, or its calibration"),
            "paths": _of("integer|null"),
            "years": _of("integer|null"),
            "seed": _of("integer|null"),
            "measure": _of("string", "real_world or risk_neutral"),
            "stresses": _of("array", "names of stresses", items=_of("string")),
        },
        required=("analysis",),
        gives={"scenarios": _of("object", "parameters, percentiles, tests, and the paths as an artifact"), **_TOLD},
    ),
    _spec(
        "risk_assessment",
        "VaR and expected shortfall with standard errors and backtests",
        "risk_assessment:assess",
        queue="cpu",
        takes={
            "scenarios": _of("object|null", "what scenario_generation gave"),
            "portfolio": {**_MARKET, "type": [*_MARKET["type"], "null"]},
            "confidence": _of("number|array|null", "one level or several, from 0.5 to 0.999"),
        },
        gives={
            "measures": _of("array", "VaR and expected shortfall, by method and level", items=_of("object")),
            "backtests": _of("array", items=_of("object")),
            "component_var": _of("object", "of a portfolio: each asset's share"),
            "drawdown": _of("object", "of scenarios"),
            "stresses": _of("array", "of scenarios", items=_of("object")),
            "paths": _of("integer", "of scenarios: how many"),
            "measure": _of("string|null", "of scenarios"),
            **_TOLD,
        },
    ),
    _spec(
        "llm_analysis",
        "A language model's reading; in a workflow it gets the earlier results as context",
        "llm_analysis:analyse",
        queue="llm",
        takes={
            "prompt": _of("string|null", "the question; or messages, or template"),
            "messages": _of("array|null", "turns: {role, content}", items=_of("object")),
            "template": _of("string|object|null", "a stored prompt's name, or {text} with variables"),
            "variables": _of("object|null", "of the template"),
            "version": _of("integer|string|null", "of the template"),
            "label": _of("string|null", "of the template"),
            "context": _of("object|null", "values by name that are told to the model"),
        },
        gives={
            "response": _of("string"),
            "responses": _of("array", "where several were asked for", items=_of("string")),
            "model": _of("string"),
            "provider": _of("string"),
            "upstream_model": _of("string"),
            "usage": _of("object", "tokens, and who counted them"),
            "tokens_used": _of("integer"),
            "cost": _of("number", "USD"),
            "finish_reason": _of("string"),
            "request_id": _of("string"),
            "config_epoch": _of("string"),
            "prompt": _of("object", "the stored prompt that was used: {id, version}"),
            "dropped_params": _of("array", items=_of("string")),
            "numbers": _of("array", "every number of the response and where it comes from", items=_of("object")),
            "context_facts": _of("array", "what the model was told", items=_of("object")),
        },
        model_kind="llm",
        permission="llm:execute",
    ),
    _spec(
        "llm_batch",
        "The requests of a batch; POST /v1/batches hands it in",
        "llm_batch:run",
        queue="llm",
        takes={"batch_id": _of("string")},
        required=("batch_id",),
        gives={
            "batch_id": _of("string"),
            "batch_status": _of("string"),
            "request_counts": _of("object"),
            "output_file_id": _of("string|null"),
            "error_file_id": _of("string|null"),
        },
        permission="llm:execute",
    ),
    _spec(
        "price_forecast",
        "A price path with intervals, and how the model did in backtests beside the naive one",
        "forecasting:forecast",
        queue="ml",
        takes={
            "data": _MARKET,
            "asset": _of("string|null", "one of the data's assets; left out: the whole portfolio"),
            "horizon": _of("integer", "trading days"),
        },
        required=("data",),
        gives={
            "forecast": _of("object", "points with intervals"),
            "backtest": _of("object", "by metric"),
            **_MODEL,
            **_TOLD,
        },
        model_kind="ml",
        permission="ml:execute",
    ),
    _spec(
        "portfolio_segmentation",
        "Assets grouped by how they behave",
        "segmentation:segment",
        queue="ml",
        takes={"data": _MARKET, "options": _of("object|null")},
        required=("data",),
        gives={"segments": _of("array", items=_of("object")), "as_of": _of("string"), **_MODEL, **_TOLD},
        model_kind="ml",
        permission="ml:execute",
    ),
    _spec(
        "model_training",
        "Train, measure out of sample, register as a new version, promote where asked",
        "model_training:train",
        queue="cpu",
        takes={
            "model": _of("string", "a built-in model"),
            "data": {**_MARKET, "type": [*_MARKET["type"], "null"]},
            "promote": _of("boolean|string", 'true, false or "if_better"'),
            "seed": _of("integer"),
            "options": _of("object|null"),
        },
        required=("model",),
        gives={
            **_MODEL,
            "already_registered": _of("boolean"),
            "promoted": _of("boolean"),
            "champion": _of("integer"),
            "metrics": _of("object", "out of sample, by name"),
            "comparison": _of("object", "beside the champion on the same days"),
            "card": _of("object"),
            "data_hash": _of("string"),
            "seed": _of("integer"),
            "libraries": _of("object"),
            **_TOLD,
        },
        permission="models:write",
    ),
)
