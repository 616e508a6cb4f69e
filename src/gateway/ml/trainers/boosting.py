"""Gradient boosting by LightGBM, single-threaded and deterministic, its rounds chosen walk-forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from gateway.ml.training import walk_forward

_COMMON: dict[str, Any] = {
    "learning_rate": 0.03,
    "num_leaves": 4,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_MOST_ROUNDS = 300
_FOLDS = 3


def fit_trees(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    day: NDArray[np.int64],
    *,
    embargo: int,
    seed: int,
    objective: Mapping[str, Any],
) -> tuple[str, int]:
    """LightGBM's text of the fitted model, and the number of rounds.

    The rounds are those with the least mean validation loss over walk-forward folds within these
    rows; then all of them are fitted on.
    """
    parameters = {**_COMMON, **objective, "seed": seed}
    curves = []
    for fit, validate in walk_forward(day, _FOLDS, embargo):
        if not len(fit) or not len(validate):
            continue
        train = lgb.Dataset(x[fit], y[fit], params=parameters)
        record: dict[str, dict[str, list[float]]] = {}
        lgb.train(
            parameters,
            train,
            _MOST_ROUNDS,
            valid_sets=[lgb.Dataset(x[validate], y[validate], reference=train)],
            valid_names=["later"],
            callbacks=[lgb.record_evaluation(record)],
        )
        (losses,) = record["later"].values()
        curves.append(losses)
    rounds = int(np.argmin(np.mean(curves, axis=0))) + 1 if curves else _MOST_ROUNDS // 2
    rounds = max(rounds, 20)
    booster = lgb.train(parameters, lgb.Dataset(x, y, params=parameters), rounds)
    return booster.model_to_string(), rounds
