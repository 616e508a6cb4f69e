"""The five models this gateway brings: how each is trained, and how any version of it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from gateway.errors import ModelNotFound
from gateway.ml.families.anomaly_detection import Tail
from gateway.ml.trainers import anomaly_detection, classification, clustering, regression, time_series
from gateway.ml.training import Part, TrainedModel, TrainingTable
from gateway.models.ml_models import Family, Features, Prediction, Predictor
from gateway.registry.model_registry import ModelRegistry, NewVersion
from gateway.risk.market_data import MarketData
from gateway.workflows.training_data import (
    RISK_CLASSES,
    RiskData,
    anomaly_data,
    risk_data,
    segment_data,
    series_data,
)

#: The seed of the versions trained at the first start.
FIRST_SEED = 20_260_101

#: Which side of an anomaly feature is suspicious; both for those not named.
_TAILS: Mapping[str, Tail] = MappingProxyType(
    {"mean_abs_z": "right", "max_abs_z": "right", "dispersion_z": "right", "vol_jump": "right"}
)


#: What a low and a high value is called in a segment's name.
_SEGMENT_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType({"max_drawdown": ("deep losses", "shallow losses")})


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One built-in model. ``metric`` decides which of two versions is better; ``baseline`` is the
    metric of the simple method it has to beat. ``prepare`` makes the training data (from market data
    and a seed) that ``train`` (with the seed) and ``evaluate`` (on its test days) take.
    """

    name: str
    family: Family
    summary: str
    metric: str
    higher_is_better: bool
    baseline: str
    prepare: Callable[[MarketData, int], Any]
    train: Callable[[Any, int], TrainedModel]
    evaluate: Callable[[Predictor, Any], dict[str, float]]

    def better(self, one: float, other: float) -> bool:
        """Whether the metric's value ``one`` is strictly better than ``other``."""
        return one > other if self.higher_is_better else one < other


def missing(registry: ModelRegistry) -> list[str]:
    """The built-in models that have no version yet."""
    return [name for name in BUILTIN if not registry.versions(name)]


def built_in(name: str) -> BuiltIn:
    """The built-in model, or ``ModelNotFound`` that lists them."""
    if name not in BUILTIN:
        raise ModelNotFound(
            "there is no built-in model of that name to train",
            mend=f"one of: {', '.join(sorted(BUILTIN))}",
            param="model",
            known=sorted(BUILTIN),
        )
    return BUILTIN[name]


def train_builtin(name: str, data: MarketData, seed: int = FIRST_SEED) -> TrainedModel:
    """Trains the model: the same data and seed give the same bytes. CPU-bound, some seconds.

    Raises ``ModelNotFound`` for another name, ``ValidationFailed`` for too little data.
    """
    model = built_in(name)
    return model.train(model.prepare(data, seed), seed)


def new_version(name: str, trained: TrainedModel, created_by: str) -> NewVersion:
    """What the registry takes."""
    return NewVersion(
        model=name,
        family=trained.family,
        format=trained.format,
        content=trained.content,
        schema=trained.schema,
        metrics=trained.metrics,
        card=trained.card,
        data_hash=trained.data_hash,
        seed=trained.seed,
        libraries=trained.libraries,
        created_by=created_by,
    )


def _with_card(trained: TrainedModel, *, use: str, limits: list[str]) -> TrainedModel:
    fairness = "not applicable: the rows are portfolios of listed shares, not people"
    return replace(trained, card={"intended_use": use, **trained.card, "limits": limits, "fairness": fairness})


_COMMON_LIMITS = [
    "learned from large US stocks that survived to the end of the data: survivorship flatters them",
    "the past it learned from may not resemble the future; out-of-range features are flagged in each answer",
]


def _coverage_limit(trained: TrainedModel, what: str) -> str:
    """Conformal guarantees assume that days are exchangeable, which markets are not: the card tells."""
    stated, seen = trained.metrics["coverage_target"], trained.metrics["coverage"]
    return f"the {what} aim at {stated:.0%} and covered {seen:.1%} of the test days: regimes change"


def _train_classifier(future: RiskData, seed: int) -> TrainedModel:
    table, limits = future.classes(classification.SPLIT)
    fit, calibrate = (part.rows for part in classification.split(table)[:2])
    truth = future.logs()
    logs = volatility_baselines(truth, fit)["har"]
    spread = float((truth.y - logs)[calibrate].std())
    below = norm.cdf((np.log(limits)[None, :] - logs[:, None]) / spread)
    har = np.diff(np.column_stack([np.zeros(len(logs)), below, np.ones(len(logs))]), axis=1)
    trained = classification.train(table, RISK_CLASSES, seed=seed, baselines={"har": har})
    return _with_card(
        trained,
        use="how volatile a stock portfolio will be over the next month, as a level with calibrated probabilities",
        limits=[
            *_COMMON_LIMITS,
            _coverage_limit(trained, "prediction sets"),
            "says nothing about the direction of returns, nor about credit or liquidity risk",
        ],
    )


def _evaluate_classifier(predictor: Predictor, future: RiskData) -> dict[str, float]:
    table, _ = future.classes(classification.SPLIT)
    test = classification.split(table)[-1]
    return classification.evaluate(_answers(predictor, table, test), RISK_CLASSES, table.y[test.rows].astype(np.intp))


def _train_regressor(future: RiskData, seed: int) -> TrainedModel:
    table = future.logs()
    baselines = volatility_baselines(table, regression.split(table)[0].rows)
    trained = regression.train(table, scale="log", baselines=baselines, seed=seed)
    return _with_card(
        trained,
        use="the annualised volatility of a stock portfolio over the next month, with an interval",
        limits=[
            *_COMMON_LIMITS,
            _coverage_limit(trained, "intervals"),
            "the interval has the same relative width in calm and in stress",
        ],
    )


def volatility_baselines(table: TrainingTable, fit: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
    """Two simple forecasts of the log volatility for every row: the last month's (``persistence``),
    and a linear regression on the logs of the last month's, quarter's and year's (``har``), fitted on
    the rows ``fit`` alone. Shape (rows,) each."""
    names = ("vol_21", "vol_63", "vol_252")
    logs = np.log(np.maximum(table.x[:, [table.names.index(name) for name in names]], 1e-4))
    design = np.column_stack([np.ones(len(logs)), logs])
    weights = np.linalg.lstsq(design[fit], table.y[fit], rcond=None)[0]
    return {"persistence": logs[:, 0], "har": np.asarray(design @ weights, dtype=np.float64)}


def _evaluate_regressor(predictor: Predictor, future: RiskData) -> dict[str, float]:
    table = future.logs()
    test = regression.split(table)[-1]
    return regression.evaluate(_answers(predictor, table, test), "log", table.y[test.rows])


def _train_detector(table: TrainingTable, seed: int) -> TrainedModel:
    tails = [_TAILS.get(name, "both") for name in table.names]
    return _with_card(
        anomaly_detection.train(table, tails=tails, seed=seed),
        use="days on which a stock portfolio moved in a way that is rare for it, with the features that say so",
        limits=[
            *_COMMON_LIMITS,
            "rare is not wrong: an alarm is a reason to look",
            "in a crisis alarms come in clusters, so their rate there is far above the stated one",
        ],
    )


def _evaluate_detector(predictor: Predictor, table: TrainingTable) -> dict[str, float]:
    return anomaly_detection.evaluate(_answers(predictor, table, anomaly_detection.split(table)[-1]))


def _train_forecaster(table: time_series.SeriesTable, seed: int) -> TrainedModel:
    return _with_card(
        time_series.train(table, seed=seed),
        use="a range for a price up to three months ahead; its middle is hardly better than the last price",
        limits=[
            *_COMMON_LIMITS,
            "prices are close to unpredictable: read the interval, not the line",
            "the interval follows the recent volatility of the series; a sudden change of regime is not foreseen",
        ],
    )


def _train_segments(table: TrainingTable, seed: int) -> TrainedModel:
    return _with_card(
        clustering.train(table, order_by="volatility", seed=seed, words=_SEGMENT_NAMES),
        use="groups of assets that behaved alike over five years, for reading a portfolio",
        limits=[*_COMMON_LIMITS, "clusters are a description; the borders between them are soft"],
    )


def _evaluate_segments(predictor: Predictor, table: TrainingTable) -> dict[str, float]:
    test = clustering.split(table)[-1]
    return clustering.evaluate(_answers(predictor, table, test), table.x[test.rows])


def _answers(predictor: Predictor, table: TrainingTable, part: Part) -> Prediction:
    return predictor.predict(Features(rows=tuple(map(tuple, table.x[part.rows].tolist()))))


BUILTIN: Mapping[str, BuiltIn] = MappingProxyType(
    {
        model.name: model
        for model in (
            BuiltIn(
                name="risk-classifier",
                family="classification",
                summary="Low, medium or high portfolio risk over the next month",
                metric="log_loss",
                higher_is_better=False,
                baseline="har_log_loss",
                prepare=risk_data,
                train=_train_classifier,
                evaluate=_evaluate_classifier,
            ),
            BuiltIn(
                name="volatility-regressor",
                family="regression",
                summary="Portfolio volatility over the next month, with an interval",
                metric="rmse",
                higher_is_better=False,
                baseline="har_rmse",
                prepare=risk_data,
                train=_train_regressor,
                evaluate=_evaluate_regressor,
            ),
            BuiltIn(
                name="market-anomaly",
                family="anomaly_detection",
                summary="Days that do not fit what came before",
                metric="alarm_rate_error",
                higher_is_better=False,
                baseline="baseline_alarm_rate_error",
                prepare=lambda data, _seed: anomaly_data(data),
                train=_train_detector,
                evaluate=_evaluate_detector,
            ),
            BuiltIn(
                name="price-forecaster",
                family="time_series",
                summary="A price path with intervals, up to three months ahead",
                metric="mae",
                higher_is_better=False,
                baseline="naive_mae",
                prepare=lambda data, _seed: series_data(data),
                train=_train_forecaster,
                evaluate=time_series.evaluate,
            ),
            BuiltIn(
                name="portfolio-segments",
                family="clustering",
                summary="Assets grouped by how they behave",
                metric="silhouette",
                higher_is_better=True,
                baseline="baseline_silhouette",
                prepare=lambda data, _seed: segment_data(data),
                train=_train_segments,
                evaluate=_evaluate_segments,
            ),
        )
    }
)
