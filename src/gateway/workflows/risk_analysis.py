"""Risk analysis: the workflow, and its two steps that call a predictive model (unusual days, the level of risk)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.governance.explanation import Reason, reasons
from gateway.models.ml_models import FeatureSpec, RowPrediction
from gateway.risk.features import FeatureTable, anomaly_table, asset_scores, risk_table
from gateway.risk.market_data import MarketData
from gateway.serving.predict import PredictAnswer
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import load_market, thinned
from gateway.workflows.model_step import MOST_ROWS, ask, named_rows, options_of, peaks, told, whole_number
from gateway.workflows.training_data import specs
from gateway.workflows.workflow import Workflow

#: The workflow: what it says stands in config/workflows.yaml too, where an operator may change it.
WORKFLOW = Workflow("risk_analysis", name="Risk Analysis Workflow")
_prepared = WORKFLOW.step(
    "data_prep",
    "data_preprocessing",
    {"data": WORKFLOW.input.market_data},
    publish={"processed_data": "processed_data"},
)
_anomalies = WORKFLOW.step("anomaly_check", "anomaly_detection", {"data": _prepared.processed_data}, after=[_prepared])
_classified = WORKFLOW.step(
    "risk_classify", "risk_classification", {"features": _prepared.processed_data}, after=[_prepared]
)
WORKFLOW.step(
    "llm_analysis", "llm_analysis", {"prompt": WORKFLOW.input.analysis_prompt}, after=[_anomalies, _classified]
)

#: Anomalies listed; how many there are in all is told beside them.
MOST_LISTED = 50
_ASSETS_NAMED = 5
_REASONS = 3
_HISTORY = 400


async def detect_anomalies(ctx: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """Days of ``data`` (market data) that are rare by the model's measure.

    Options: ``false_alarm_rate``, ``most`` (1 to 50 listed), ``order`` (``worst`` or ``newest``
    first). The model sees every day in one call.
    """
    options = options_of(data, "false_alarm_rate", "most", "order")
    most = whole_number(options.get("most", MOST_LISTED), "input_data.options.most", 1, MOST_LISTED)
    order = options.get("order", "worst")
    if order not in ("worst", "newest"):
        raise ValidationFailed(
            "input_data.options.order is neither worst nor newest",
            mend='write "worst" or "newest"',
            param="input_data.options.order",
        )
    market = await load_market(ctx, data["data"], "input_data.data")
    ctx.progress(0.2, "features")
    features, assets = await asyncio.to_thread(_anomaly_features, market)
    ctx.raise_if_cancelled()
    ctx.progress(0.5, f"{len(features.index)} days to the model")
    parameters = {key: options[key] for key in ("false_alarm_rate",) if key in options}
    answer = await ask(ctx, "anomaly_detection", named_rows(features), explain=True, parameters=parameters)
    ctx.progress(0.9, "reasons")
    version = await asyncio.to_thread(ctx.registry.resolve, answer.model, answer.version)
    stated = {**version.card, **((ctx.model_config or {}).get("parameters") or {}), **parameters}
    return await asyncio.to_thread(
        _anomaly_result, features, assets, answer, stated.get("false_alarm_rate"), most, order
    )


def _anomaly_features(market: MarketData) -> tuple[FeatureTable, _Assets]:
    features = newest(anomaly_table(market), MOST_ROWS)
    dates, z, returns = asset_scores(market)
    start = len(dates) - len(features.index)
    return features, _Assets(market.assets, z[start:], returns[start:])


@dataclass(frozen=True, slots=True)
class _Assets:
    """Every asset's move each day, in daily volatilities and as a return: (days, assets), aligned with
    the feature rows."""

    names: tuple[str, ...]
    z: NDArray[np.float64]
    returns: NDArray[np.float64]

    def moved_most(self, place: int) -> list[dict[str, Any]]:
        order = np.argsort(-np.abs(self.z[place]), kind="stable")[:_ASSETS_NAMED]
        return [
            {
                "asset": self.names[column],
                "return": round(float(self.returns[place, column]), 6),
                "z": round(float(self.z[place, column]), 3),
            }
            for column in order
        ]


def _anomaly_result(
    features: FeatureTable,
    assets: _Assets,
    answer: PredictAnswer,
    false_alarm_rate: float | None,
    most: int,
    order: str,
) -> dict[str, Any]:
    rows = answer.prediction.predictions
    scores = [_score(row) for row in rows]
    found = sorted((place for place, row in enumerate(rows) if row.is_anomaly), key=lambda place: -scores[place])
    worst = found[:most] if order == "worst" else sorted(found, reverse=True)[:most]
    columns = specs(features)
    anomalies = [
        {
            "date": features.index[place],
            "score": round(scores[place], 4),
            "threshold": round(_threshold(rows[place]), 4),
            "assets": assets.moved_most(place),
            "reasons": [
                reason.text
                for reason in reasons(
                    rows[place].contributions or (), columns, raises="rare", lowers="common", most=_REASONS
                )
            ],
        }
        for place in worst
    ]
    threshold = _threshold(rows[-1])
    source = f"{answer.model} version {answer.version}"
    facts = [
        told("number of unusual days", len(found), "days", source),
        told("number of trading days examined", len(rows), "days"),
        told("share of unusual days", round(100 * len(found) / len(rows), 3), "%", source),
        told("score above which a day is unusual", round(threshold, 3), "nats", source),
    ]
    if found:
        top = found[0]
        facts.append(
            told(f"score of the most unusual day, {features.index[top]}", round(scores[top], 3), "nats", source)
        )
        facts += [
            told(f"return of {moved['asset']} on {features.index[top]}", round(100 * moved["return"], 3), "%")
            for moved in assets.moved_most(top)[:2]
        ]
        years = Counter(features.index[place][:4] for place in found)
        year = max(years, key=lambda name: (years[name], name))
        facts.append(told(f"unusual days in {year}, the year with the most", years[year], "days", source))
    shown = peaks(scores)
    by_date = sorted(anomalies, key=lambda one: str(one["date"]))
    return {
        "anomalies": anomalies,
        "total": len(found),
        "listed": len(anomalies),
        "order": order,
        "threshold": round(threshold, 6),
        "false_alarm_rate": false_alarm_rate,
        "model": answer.model,
        "version": answer.version,
        "facts": facts,
        "plots": {
            "scores": {
                "kind": "line",
                "title": "How unusual each day was",
                "x": [features.index[place] for place in shown],
                "series": {
                    "score": [round(scores[place], 4) for place in shown],
                    "threshold": [round(threshold, 4)] * len(shown),
                },
                "unit": "nats",
            },
            "anomalies": {
                "kind": "scatter",
                "title": "Unusual days",
                "x": [one["date"] for one in by_date],
                "series": {"score": [one["score"] for one in by_date]},
                "unit": "nats",
            },
        },
    }


async def classify_risk(ctx: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """The level of risk at the last day of ``features`` (market data, or one row of feature values).

    Options: ``as_of`` (an ISO date: nothing later is looked at), ``coverage`` of the prediction set.
    The days before are answered in the same call, thinned, for the picture over time.
    """
    options = options_of(data, "as_of", "coverage")
    parameters = {key: options[key] for key in ("coverage",) if key in options}
    given = data["features"]
    if isinstance(given, Mapping) and "vol_21" in given:
        answer = await ask(ctx, "risk_classification", {"features": dict(given)}, explain=True, parameters=parameters)
        version = await asyncio.to_thread(ctx.registry.resolve, answer.model, answer.version)
        (row,) = answer.prediction.predictions
        return _level(answer, row, version.schema.features, str(options.get("as_of", "")))
    market = await load_market(ctx, given, "input_data.features")
    ctx.progress(0.2, "features")
    features = await asyncio.to_thread(_risk_features, market, options.get("as_of"))
    ctx.raise_if_cancelled()
    shown = thinned(len(features.index), _HISTORY)
    ctx.progress(0.5, f"{len(shown)} days to the model")
    answer = await ask(ctx, "risk_classification", named_rows(features, shown), explain=True, parameters=parameters)
    ctx.progress(0.9, "reasons")
    result = _level(answer, answer.prediction.predictions[-1], specs(features), features.index[-1])
    return {**result, "plots": _level_plots(features, shown, answer.prediction.predictions)}


def _risk_features(market: MarketData, as_of: Any) -> FeatureTable:
    if as_of is not None:
        market = up_to(market, as_of, "input_data.options.as_of")
    features = risk_table(market)
    if not features.index:
        raise ValidationFailed(
            f"the market data has {len(market.dates)} days, too few for the features",
            mend="send more than a year of daily prices",
            param="input_data.features",
        )
    return features


def _level(answer: PredictAnswer, row: RowPrediction, columns: Sequence[FeatureSpec], as_of: str) -> dict[str, Any]:
    if row.label is None or row.probabilities is None:
        raise ValidationFailed(
            f"the model {answer.model} gives no classes",
            mend="name a classification model in model_config.name",
            param="model_config.name",
        )
    found = reasons(
        row.contributions or (),
        columns,
        raises=f"speaks for {row.label} risk",
        lowers=f"speaks against {row.label} risk",
    )
    source = f"{answer.model} version {answer.version}"
    by_share = sorted(row.probabilities.items(), key=lambda item: -item[1])
    facts = [told("risk level over the next month", row.label, "", source)]
    shares = [
        told(f"probability of {name} risk over the next month", round(100 * share, 2), "%", source)
        for name, share in by_share
    ]
    facts += [shares[0], *(_as_fact(reason, columns) for reason in found), *shares[1:]]
    return {
        "risk_level": row.label,
        "probabilities": {name: round(share, 6) for name, share in row.probabilities.items()},
        "prediction_set": list(row.prediction_set or ()),
        "coverage": row.coverage,
        "reasons": [
            {
                "feature": reason.feature,
                "value": reason.value,
                "contribution": round(reason.contribution, 6),
                "text": reason.text,
            }
            for reason in found
        ],
        "out_of_range": list(row.out_of_range or ()),
        "as_of": as_of,
        "model": answer.model,
        "version": answer.version,
        "facts": facts,
        "plots": {},
    }


def _as_fact(reason: Reason, columns: Sequence[FeatureSpec]) -> dict[str, Any]:
    spec = next((spec for spec in columns if spec.name == reason.feature), FeatureSpec(reason.feature))
    if spec.unit == "fraction":
        return told(spec.description or spec.name, 100 * reason.value, "%")
    return told(spec.description or spec.name, reason.value, spec.unit)


def _level_plots(features: FeatureTable, shown: NDArray[np.intp], rows: Sequence[RowPrediction]) -> dict[str, Any]:
    dates = [features.index[place] for place in shown]
    names = list(rows[-1].probabilities or {})
    volatility = {name: features.names.index(name) for name in ("vol_21", "vol_252") if name in features.names}
    return {
        "probabilities": {
            "kind": "band",
            "title": "Probability of each level of risk over the next month",
            "x": dates,
            "series": {name: [round((row.probabilities or {}).get(name, 0.0), 5) for row in rows] for name in names},
            "unit": "probability",
        },
        "volatility": {
            "kind": "line",
            "title": "Annualised volatility of the portfolio",
            "x": dates,
            "series": {
                name: [round(value, 6) for value in features.values[shown, column].tolist()]
                for name, column in volatility.items()
            },
            "unit": "annualised",
        },
    }


def newest(features: FeatureTable, most: int) -> FeatureTable:
    """The last ``most`` rows."""
    return replace(features, index=features.index[-most:], values=features.values[-most:])


def up_to(market: MarketData, as_of: Any, place: str) -> MarketData:
    """The market data up to and with that ISO date; ``ValidationFailed`` where it is none or too early."""
    try:
        date = np.datetime64(as_of, "D") if isinstance(as_of, str) else None
    except ValueError:
        date = None
    if date is None or np.isnat(date):
        raise ValidationFailed(f"{place} is not a date", mend='write it as "2020-03-31"', param=place)
    days = int(np.searchsorted(market.dates, date, side="right"))
    if days < 2:
        raise ValidationFailed(
            f"{place} is before the data begins", mend=f"give a date after {market.dates[0]}", param=place
        )
    return replace(market, dates=market.dates[:days], prices=market.prices[:days])


def _score(row: RowPrediction) -> float:
    if row.score is None:
        raise ValidationFailed(
            "the model gives no anomaly scores",
            mend="name an anomaly_detection model in model_config.name",
            param="model_config.name",
        )
    return row.score


def _threshold(row: RowPrediction) -> float:
    """The threshold of a scored row; a model that names none flags by itself, and 0 stands for it."""
    return row.threshold if row.threshold is not None else 0.0
