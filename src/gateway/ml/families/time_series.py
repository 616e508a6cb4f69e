"""Time series: damped-trend exponential smoothing on log prices, with backtest-calibrated intervals.

The smoothing weights are fitted once over many series and origins; the series itself comes with the
call. The forecast of h steps is ``level + trend * (phi + … + phi^h) + drift * h * mean change``.
Intervals are ``± q(h, coverage) * sigma * sqrt(h)`` around it on the log scale, with the call's own
recent volatility ``sigma`` and ``q`` a conformal quantile of standardised backtest errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.errors import ArtifactCorrupt, ValidationFailed
from gateway.ml import formats
from gateway.ml.answers import only_parameters
from gateway.models.ml_models import Contribution, Features, ModelSchema, Prediction, RowPrediction

#: Weight of yesterday's variance in the recent volatility (RiskMetrics' daily figure).
_VARIANCE_DECAY = 0.94
_LEAST_SIGMA = 1e-9
_MOST_WINDOW = 2_000


class Smoothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights: ``alpha`` of the level, ``beta`` of the trend, ``phi`` damping a step, ``drift`` the
    share of the long-run mean change that is carried on."""

    alpha: float
    beta: float
    phi: float
    drift: float


class SeriesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``quantiles``: shape (coverages, max_horizon), for errors divided by ``sigma * sqrt(h)``.
    At most the last ``window`` values of a series are used."""

    smoothing: Smoothing
    window: int
    max_horizon: int
    coverages: tuple[float, ...]
    quantiles: bytes
    coverage: float


@dataclass(frozen=True, slots=True)
class State:
    """Each array has shape (n,): one entry a series. Log scale, a step."""

    level: NDArray[np.float64]
    trend: NDArray[np.float64]
    drift: NDArray[np.float64]
    sigma: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """What each value of a series of one length adds to the state: the recursion is linear in the
    logs (level, trend; shape (length,)) and in the squared changes (variance; shape (length - 1,))."""

    level: NDArray[np.float64]
    trend: NDArray[np.float64]
    variance: NDArray[np.float64]


@lru_cache(maxsize=128)
def _kernel(length: int, weights: Smoothing) -> _Kernel:
    """Found by running the recursion once on unit impulses; afterwards a state is a dot product."""
    impulses = np.eye(length)
    level, trend = impulses[0].copy(), np.zeros(length)
    for step in range(1, length):
        expected = level + weights.phi * trend
        error = impulses[step] - expected
        level, trend = expected + weights.alpha * error, weights.phi * trend + weights.beta * error
    ages = np.arange(length - 1)[::-1]
    variance = (1 - _VARIANCE_DECAY) * _VARIANCE_DECAY**ages
    return _Kernel(level, trend, variance / variance.sum())


def smooth(logs: NDArray[np.float64], weights: Smoothing) -> State:
    """The state after the last value of each row of ``logs``, shape (n, length), length at least 2.

    The level starts at the first value, the trend at 0; each step corrects the level by ``alpha`` and
    the trend by ``beta`` of the one-step error. ``sigma`` is exponentially weighted.
    """
    kernel = _kernel(logs.shape[1], weights)
    changes = np.diff(logs, axis=1)
    # Relative to the first value, so that large levels cost no precision.
    shifted = logs - logs[:, :1]
    sigma = np.sqrt(changes**2 @ kernel.variance)
    return State(
        level=logs[:, 0] + shifted @ kernel.level,
        trend=shifted @ kernel.trend,
        drift=weights.drift * changes.mean(axis=1),
        sigma=np.maximum(sigma, _LEAST_SIGMA),
    )


def path(state: State, weights: Smoothing, horizon: int) -> NDArray[np.float64]:
    """The expected log price, shape (n, horizon)."""
    steps = np.arange(1, horizon + 1)
    damped = np.cumsum(weights.phi**steps)
    return np.asarray(
        state.level[:, None] + state.trend[:, None] * damped + state.drift[:, None] * steps, dtype=np.float64
    )


class SeriesForecaster:
    """A loaded forecaster. Parameter ``coverage`` is one of those it was calibrated at."""

    def __init__(self, body: SeriesBody, schema: ModelSchema) -> None:
        if schema.kind != "series" or schema.max_horizon > body.max_horizon or body.coverage not in body.coverages:
            raise ArtifactCorrupt("the artifact's horizon or coverage does not match its schema")
        if not 2 <= body.window <= _MOST_WINDOW:
            raise ArtifactCorrupt("the artifact's window is out of bounds")
        self._body = body
        quantiles = formats.from_bytes(body.quantiles, len(body.coverages), body.max_horizon)
        self._quantiles = dict(zip(body.coverages, quantiles, strict=True))

    def predict(self, features: Features) -> Prediction:
        """One answer a step ahead; ``value`` is the median price. Contributions (log scale) are those
        of the smoothed level, the local trend and the long-run drift, over the last log price."""
        only_parameters(features, "coverage")
        coverage = self._coverage(features)
        body, horizon = self._body, features.horizon
        prices = np.asarray(features.rows, dtype=np.float64)[-body.window :, 0]
        if not (prices > 0).all():
            raise ValidationFailed(
                "input_data.series holds a value that is not positive",
                mend="send prices or index levels, all above 0",
                param="input_data.series",
            )
        logs = np.log(prices)[None, :]
        state = smooth(logs, body.smoothing)
        middle = path(state, body.smoothing, horizon)[0]
        steps = np.arange(1, horizon + 1)
        margin = self._quantiles[coverage][:horizon] * state.sigma[0] * np.sqrt(steps)
        last = float(logs[0, -1])
        with np.errstate(over="ignore"):  # what overflows is refused in the next lines
            value, lower, upper = np.exp(middle), np.exp(middle - margin), np.exp(middle + margin)
        if not np.isfinite(upper).all():
            raise ValidationFailed(
                "the series moves too wildly for an interval of that horizon",
                mend="shorten the horizon, or check the series for wrong values",
                param="input_data.series",
            )
        return Prediction(
            predictions=tuple(
                RowPrediction(
                    value=float(value[step]),
                    lower=float(lower[step]),
                    upper=float(upper[step]),
                    coverage=coverage,
                    contributions=self._parts(state, last, step + 1) if features.explain else None,
                    base_value=last if features.explain else None,
                )
                for step in range(horizon)
            )
        )

    def _parts(self, state: State, last: float, step: int) -> tuple[Contribution, ...]:
        level, trend, drift = float(state.level[0]), float(state.trend[0]), float(state.drift[0])
        damped = float(np.cumsum(self._body.smoothing.phi ** np.arange(1, step + 1))[-1])
        return (
            Contribution(feature="level", value=level, contribution=level - last),
            Contribution(feature="trend", value=trend, contribution=trend * damped),
            Contribution(feature="drift", value=drift, contribution=drift * step),
        )

    def _coverage(self, features: Features) -> float:
        coverage = features.parameters.get("coverage", self._body.coverage)
        if not isinstance(coverage, float) or coverage not in self._quantiles:
            raise ValidationFailed(
                "model_config.parameters.coverage is none that this model was calibrated at",
                mend=f"one of: {', '.join(str(known) for known in self._body.coverages)}",
                param="model_config.parameters.coverage",
            )
        return float(coverage)


def load(content: bytes, schema: ModelSchema) -> SeriesForecaster:
    """The forecaster in an artifact. ``ArtifactCorrupt`` where it is none."""
    return SeriesForecaster(formats.unpack(content, formats.EXPONENTIAL_SMOOTHING, SeriesBody), schema)
