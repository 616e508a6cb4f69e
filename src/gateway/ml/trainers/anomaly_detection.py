"""Trains the anomaly detector: the sample on the early days, the threshold on later ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew

from gateway.ml import formats
from gateway.ml.families.anomaly_detection import Ecod, EcodBody, Tail, sum_columns
from gateway.ml.metrics import rounded
from gateway.ml.training import (
    Part,
    TrainedModel,
    TrainingTable,
    fitted_schema,
    libraries,
    split_in_time,
    table_hash,
)
from gateway.models.ml_models import Prediction

#: Sample, threshold, test.
SPLIT = (0.5, 0.25, 0.25)
FALSE_ALARM_RATE = 0.01
_TAIL_SHARE = 0.02
#: Below this skewness (absolute) both tails count.
_SYMMETRIC = 0.5


def split(table: TrainingTable) -> tuple[Part, ...]:
    """Sample, threshold, test."""
    return split_in_time(table, SPLIT)


def train(table: TrainingTable, *, tails: Sequence[Tail] | None = None, seed: int) -> TrainedModel:
    """``tails``: which side of each feature is suspicious; left out, the longer tail of the sample
    (both where it is about symmetric), as ECOD chooses. There is nothing random in it."""
    sample, threshold, test = split(table)
    fitted = table.x[sample.rows]
    chosen = tuple(tails) if tails is not None else tuple(_by_skewness(column) for column in fitted.T)
    schema = fitted_schema(table.specs, fitted)

    def body(held_out: NDArray[np.float64]) -> EcodBody:
        return EcodBody(
            tails=chosen,
            sample=formats.to_bytes(np.sort(fitted, axis=0).T),
            sample_size=len(fitted),
            tail_share=_TAIL_SHARE,
            held_out=formats.to_bytes(held_out),
            held_out_size=len(held_out),
            false_alarm_rate=FALSE_ALARM_RATE,
        )

    scorer = Ecod(body(np.zeros(1)), schema)
    held_out = np.sort(sum_columns(scorer.parts(table.x[threshold.rows])))
    finished = body(held_out)
    detector = Ecod(finished, schema)
    scores = sum_columns(detector.parts(table.x[test.rows]))
    limit = detector.threshold(FALSE_ALARM_RATE)
    # What a rule of thumb on the first feature would flag: |z| > 3.
    baseline = float((np.abs(table.x[test.rows][:, 0]) > 3.0).mean())
    metrics = {
        **score(scores, scores > limit),
        "sample_alarm_rate": float((sum_columns(detector.parts(fitted)) > limit).mean()),
        "threshold": limit,
        "baseline_alarm_rate": baseline,
        "baseline_alarm_rate_error": abs(baseline - FALSE_ALARM_RATE),
    }
    card: dict[str, Any] = {
        **table.about,
        "method": (
            "ECOD: sum over the features of -ln(tail probability) in the empirical distribution of the sample, the "
            f"outer {_TAIL_SHARE:.0%} continued by a Pareto law; the threshold is the quantile of later, "
            "held-out days that gives the stated false-alarm rate"
        ),
        "tails": dict(zip(table.names, chosen, strict=True)),
        "false_alarm_rate": FALSE_ALARM_RATE,
        "splits": {
            "fit": sample.described(),
            "threshold": threshold.described(),
            "test": test.described(),
            "embargo_days": table.embargo,
        },
        "contributions": "each feature's term of the score, in nats",
    }
    return TrainedModel(
        family="anomaly_detection",
        format=formats.ECOD,
        content=formats.pack(formats.ECOD, finished),
        schema=schema,
        metrics=rounded(metrics),
        card=card,
        data_hash=table_hash(table),
        seed=seed,
        libraries=libraries("numpy", "scipy"),
    )


def score(scores: NDArray[np.float64], flagged: NDArray[np.bool_]) -> dict[str, float]:
    """Out-of-sample figures: there are no labels, so the alarm rate is compared with the stated one."""
    return rounded(
        {
            "alarm_rate": float(flagged.mean()),
            "alarm_rate_target": FALSE_ALARM_RATE,
            "alarm_rate_error": abs(float(flagged.mean()) - FALSE_ALARM_RATE),
            "mean_score": float(scores.mean()),
            "max_score": float(scores.max()),
            "test_rows": float(len(scores)),
        }
    )


def evaluate(prediction: Prediction) -> dict[str, float]:
    """The same figures from any predictor's answers."""
    scores = np.array([row.score for row in prediction.predictions], dtype=np.float64)
    return score(scores, np.array([bool(row.is_anomaly) for row in prediction.predictions]))


def _by_skewness(column: NDArray[np.float64]) -> Tail:
    asymmetry = float(skew(column)) if column.std() > 0 else 0.0
    if abs(asymmetry) < _SYMMETRIC:
        return "both"
    return "right" if asymmetry > 0 else "left"
