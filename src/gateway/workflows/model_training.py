"""Trains a built-in model, measures it beside the champion on the same days, registers, promotes."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Literal

from gateway.errors import GatewayError, ValidationFailed
from gateway.ml.runtime import load
from gateway.ml.training import TrainedModel
from gateway.models.ml_models import ModelVersion
from gateway.registry.model_registry import CHAMPION
from gateway.risk.market_data import MarketData, bundled
from gateway.workflows.builtin_models import FIRST_SEED, BuiltIn, built_in, new_version
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import load_market
from gateway.workflows.model_step import options_of, told, whole_number
from gateway.workflows.workflow import Workflow

#: The workflow: what it says stands in config/workflows.yaml too, where an operator may change it.
WORKFLOW = Workflow("model_training", name="Model Training Workflow")
WORKFLOW.step(
    "train",
    "model_training",
    {name: WORKFLOW.input[name] for name in ("model", "data", "promote", "seed")},
)

BUNDLED = "sp500-20"
Promote = Literal[True, False, "if_better"]


async def train(ctx: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """A new version of ``model`` from ``data`` (the bundled set where left out).

    ``promote``: ``true``, ``false`` or ``"if_better"`` (default): better than the champion on the same
    out-of-sample days. ``seed``: a whole number. Needs the permission ``models:write``. The same data
    and seed give the same bytes, so a repeat finds its version instead of adding one.
    """
    ctx.caller.require("models:write")
    model = built_in(str(data["model"]))
    ctx.caller.require_model(model.name)
    options_of(data)
    promote = _promote(data.get("promote", "if_better"))
    seed = whole_number(data.get("seed", FIRST_SEED), "input_data.seed", 0, 2**31 - 1)
    market = await _market(ctx, data.get("data"))
    ctx.progress(0.1, "features and labels")
    table = await asyncio.to_thread(model.prepare, market, seed)
    ctx.raise_if_cancelled()
    ctx.progress(0.3, f"training {model.name}")
    trained = await asyncio.to_thread(model.train, table, seed)
    ctx.raise_if_cancelled()
    ctx.progress(0.7, "comparing with the champion")
    champion = await asyncio.to_thread(_champion, ctx, model)
    comparison = await asyncio.to_thread(_compare, ctx, model, trained, champion, table)
    ctx.raise_if_cancelled()
    ctx.progress(0.9, "registering")
    version, known = await asyncio.to_thread(_register, ctx, model, trained)
    promoted = champion is None or (
        version.version != champion.version and (promote is True or (promote == "if_better" and comparison["better"]))
    )
    if champion is not None and promoted:
        await asyncio.to_thread(ctx.registry.promote, model.name, version.version, by=ctx.caller.principal)
    return {
        "model": model.name,
        "version": version.version,
        "already_registered": known,
        "promoted": promoted,
        "champion": version.version if promoted or champion is None else champion.version,
        "metrics": trained.metrics,
        "comparison": comparison,
        "card": trained.card,
        "data_hash": trained.data_hash,
        "seed": seed,
        "libraries": trained.libraries,
        "facts": _facts(model, version, trained, comparison, promoted),
        "plots": _plots(model, trained, comparison),
    }


def _promote(value: Any) -> Promote:
    if value is True or value is False:
        return bool(value)
    if value == "if_better":
        return "if_better"
    raise ValidationFailed(
        "input_data.promote is none of true, false and if_better",
        mend='write true, false or "if_better"',
        param="input_data.promote",
    )


async def _market(ctx: StepContext, value: Any) -> MarketData:
    if value is None:
        return await asyncio.to_thread(bundled, BUNDLED)
    return await load_market(ctx, value, "input_data.data")


def _champion(ctx: StepContext, model: BuiltIn) -> ModelVersion | None:
    if not ctx.registry.versions(model.name):
        return None
    return ctx.registry.resolve(model.name, alias=CHAMPION)


def _compare(
    ctx: StepContext,
    model: BuiltIn,
    trained: TrainedModel,
    champion: ModelVersion | None,
    table: Any,
) -> dict[str, Any]:
    """The challenger's and the champion's metrics on the challenger's test days."""
    found: dict[str, Any] = {
        "metric": model.metric,
        "higher_is_better": model.higher_is_better,
        "period": trained.card["splits"]["test"],
        "challenger": trained.metrics[model.metric],
        "baseline": trained.metrics[model.baseline],
        "baseline_name": model.baseline,
        "champion": None,
        "champion_version": None,
        "better": champion is None,
        "caveat": "",
    }
    if champion is None:
        return found
    found["champion_version"] = champion.version
    challenger = model.evaluate(load(trained.format, trained.content, trained.schema), table)
    found["challenger"] = challenger[model.metric]
    try:
        reference = load(champion.format, ctx.artifacts.get(champion.artifact), champion.schema)
        metrics = model.evaluate(reference, table)
    except (GatewayError, ValueError) as error:
        # A champion of another shape, or one whose artifact is lost, must not block its successor.
        return {**found, "better": True, "caveat": f"the champion could not be measured: {type(error).__name__}"}
    found["champion"] = metrics[model.metric]
    found["champion_metrics"], found["challenger_metrics"] = metrics, challenger
    found["better"] = model.better(challenger[model.metric], metrics[model.metric])
    seen = str(((champion.card.get("splits") or {}).get("fit") or {}).get("end", ""))
    if seen >= trained.card["splits"]["test"]["start"]:
        found["caveat"] = f"the champion was fitted on days up to {seen}: part of the test period was known to it"
    return found


def _register(ctx: StepContext, model: BuiltIn, trained: TrainedModel) -> tuple[ModelVersion, bool]:
    """The version, and whether it was there already (the same bytes of the same data)."""
    digest = hashlib.sha256(trained.content).hexdigest()
    for version in ctx.registry.versions(model.name):
        if version.artifact == digest and version.data_hash == trained.data_hash:
            return version, True
    return ctx.registry.register(new_version(model.name, trained, ctx.caller.principal)), False


def _facts(
    model: BuiltIn, version: ModelVersion, trained: TrainedModel, comparison: dict[str, Any], promoted: bool
) -> list[dict[str, Any]]:
    source = f"{model.name} version {version.version}"
    found = [
        told("version trained", version.version, "", source),
        told("promoted to champion", "yes" if promoted else "no", "", source),
        told(f"{model.metric} out of sample", comparison["challenger"], "", source),
        told(f"{model.baseline} on the same days", comparison["baseline"], "", source),
    ]
    if comparison["champion"] is not None:
        champion = f"{model.name} version {comparison['champion_version']}"
        found.append(told(f"{model.metric} of the champion on the same days", comparison["champion"], "", champion))
    found += [
        told(name.replace("_", " "), trained.metrics[name], "", source)
        for name in ("accuracy", "coverage", "mean_set_size", "r2", "alarm_rate", "skill", "test_rows")
        if name in trained.metrics
    ]
    return found[:12]


def _plots(model: BuiltIn, trained: TrainedModel, comparison: dict[str, Any]) -> dict[str, Any]:
    labels = ["challenger", "baseline"] + (["champion"] if comparison["champion"] is not None else [])
    plots: dict[str, Any] = {
        "comparison": {
            "kind": "bar",
            "title": f"{model.metric} out of sample ({'higher' if model.higher_is_better else 'lower'} is better)",
            "x": labels,
            "series": {model.metric: [comparison[label] for label in labels]},
            "unit": "",
        }
    }
    importance = trained.card.get("importance")
    if importance:
        plots["importance"] = {
            "kind": "bar",
            "title": "Mean absolute contribution of each feature on the test days",
            "x": list(importance),
            "series": {"importance": list(importance.values())},
            "unit": "raw score",
        }
    return plots
