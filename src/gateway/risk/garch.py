"""GARCH(1,1) with a constant mean, fitted by Gaussian maximum likelihood (Bollerslev 1986)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.signal import lfilter

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Garch:
    """A fit: variance[t] = omega + alpha e[t-1]² + beta variance[t-1], in the unit of the returns squared."""

    mu: float
    omega: float
    alpha: float
    beta: float
    log_likelihood: float
    variance: Floats
    converged: bool

    @property
    def persistence(self) -> float:
        """alpha + beta."""
        return self.alpha + self.beta

    @property
    def long_run_variance(self) -> float:
        """What the variance returns to; that of the sample where it returns to none."""
        return self.omega / (1 - self.persistence) if self.persistence < 0.9999 else float(self.variance.mean())

    def next_variance(self, last_return: float) -> float:
        """The variance of the day after the sample."""
        return self.omega + self.alpha * (last_return - self.mu) ** 2 + self.beta * float(self.variance[-1])


def fit_garch(returns: Floats) -> Garch:
    """The fit to returns of shape (T,), T ≥ 100. The start of the recursion is an exponentially
    weighted mean of the first 75 squares, as is customary (arch does the same)."""
    scale = float(returns.std())
    if len(returns) < 100 or scale <= 0:
        raise ValueError("a GARCH fit needs 100 or more returns that vary")
    scaled = returns / scale
    best = None
    for alpha, beta in ((0.05, 0.90), (0.10, 0.85), (0.10, 0.80)):
        start = np.array([scaled.mean(), 1.0 - alpha - beta, alpha, beta])
        found = minimize(
            _negative,
            start,
            args=(scaled,),
            method="SLSQP",
            bounds=[(-5, 5), (1e-8, 10), (0, 1), (0, 1)],
            constraints=[{"type": "ineq", "fun": lambda p: 0.99999 - p[2] - p[3]}],
            options={"maxiter": 500, "ftol": 1e-10},
        )
        if best is None or found.fun < best.fun:
            best = found
    mu, omega, alpha, beta = (float(value) for value in best.x)  # type: ignore[union-attr]  # the loop ran
    variance = _variance(scaled - mu, omega, alpha, beta) * scale**2
    log_likelihood = -float(best.fun) - len(returns) * np.log(scale)  # type: ignore[union-attr]
    return Garch(
        mu * scale,
        omega * scale**2,
        alpha,
        beta,
        float(log_likelihood),
        variance,
        bool(best.success),  # type: ignore[union-attr]
    )


def _negative(parameters: Floats, returns: Floats) -> float:
    mu, omega, alpha, beta = parameters
    errors = returns - mu
    variance = np.maximum(_variance(errors, omega, alpha, beta), 1e-12)
    return float(0.5 * (np.log(2 * np.pi) + np.log(variance) + errors**2 / variance).sum())


def _variance(errors: Floats, omega: float, alpha: float, beta: float) -> Floats:
    """The recursion, as a linear filter of the squares."""
    squares = errors**2
    head = squares[:75]
    weights = 0.94 ** np.arange(len(head))
    first = float(weights @ head / weights.sum())
    drive = np.concatenate([[omega + (alpha + beta) * first], omega + alpha * squares[:-1]])
    filtered: Floats = lfilter([1.0], [1.0, -beta], drive)
    return filtered
