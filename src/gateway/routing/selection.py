"""Which model fits one request best: ``strategy: auto``. Pure: the same input, the same choice.

First, what cannot serve is ruled out, each with its reason: what the request needs and a row does not
declare, a window too small, a worst case dearer than the caller allows, an observed latency beyond the
limit, a quality below it. What remains is ordered by

    score = quality weight × quality × P(success)
            − cost weight × cost ÷ (cost + 0.01 USD) − latency weight × latency ÷ (latency + 3 s)

- **quality** is the mean of a Beta distribution whose prior is the declared quality, worth ten ratings;
  each rating from ``POST /feedback`` (0 to 1) adds to it. So one rating moves little, a hundred decide.
  A row that declares none starts from 0.5, worth two ratings, and passes no ``min_quality`` before it
  has ten ratings.
- **P(success)** is the mean of a Beta distribution with the prior 9.5 : 0.5 over observed outcomes.
- **latency** is the mean of the observed seconds to the first token, shrunk towards one second worth
  three observations.
- **cost** is what the request is expected to cost: its estimated input and a usual output.

In ``EXPLORE`` of the calls quality and P(success) are drawn from those distributions instead (Thompson
sampling), so that what is little known is tried now and then, and more often the better it may be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from gateway.models.route import Weights
from gateway.models.selection import NO_SELECTION, Selection
from gateway.money import UNITS_PER_USD, plain, usd
from gateway.routing.learning import Standing
from gateway.routing.retry import MOST_ATTEMPTS

#: The share of calls that explore.
EXPLORE = 0.05
#: Tokens that the window of a row is taken to have that does not declare it.
WINDOW_ASSUMED = 4_096
_DECLARED_WORTH, _UNDECLARED_WORTH, _ENOUGH_RATINGS = 10.0, 2.0, 10.0
_SUCCESSES, _FAILURES = 9.5, 0.5
_SECONDS, _SECONDS_WORTH = 1.0, 3.0
_HALF_COST, _HALF_SECONDS = UNITS_PER_USD // 100, 3.0
#: How many of the ruled out a record names.
_MOST_NOTED = 20


class Candidate(Struct, frozen=True):
    """A deployment as far as a choice looks at it.

    ``tokens`` is what the request needs of its window, ``cost`` the expected and ``worst`` the largest
    cost in units (``None``: no price is known); ``obstacle`` says why it cannot be called at all.
    """

    name: str
    quality: float | None = None
    capabilities: frozenset[str] = frozenset()
    window: int | None = None
    tokens: int = 0
    cost: int | None = 0
    worst: int | None = 0
    obstacle: str = ""
    standing: Standing = Standing()


class Estimate(Struct, frozen=True):
    """What is thought of a candidate for this request, and the score that follows."""

    name: str
    quality: float
    success: float
    seconds: float
    measured: bool
    cost: int
    score: float

    def why(self) -> str:
        latency = f"{self.seconds:.2f} s" if self.measured else "latency not yet measured"
        return (
            f"score {self.score:.3f}: quality {self.quality:.2f}, success {self.success:.2f}, {latency}, "
            f"{plain(usd(self.cost))} USD expected"
        )


class Choice(Struct, frozen=True):
    """The candidates that fit, best first, and why the others do not."""

    fitting: tuple[Estimate, ...]
    ruled_out: dict[str, str]
    explored: bool = False

    def steps(self, route: str) -> tuple[tuple[str, str], ...]:
        """The deployments to try, each with its reason, for ``routing.router``."""
        how = ", exploring" if self.explored else ""
        return tuple((item.name, f"of {route}, {item.why()}{how}") for item in self.fitting)

    def note(self, needs: frozenset[str], selection: Selection) -> dict[str, Any]:
        """The choice for the record of the call."""
        noted: dict[str, Any] = {
            "chosen": self.fitting[0].name if self.fitting else None,
            "explored": self.explored,
            "needs": sorted(needs),
            "limits": selection.limits(),
            "candidates": {item.name: item.why() for item in self.fitting},
            "ruled_out": dict(list(self.ruled_out.items())[:_MOST_NOTED]),
        }
        if len(self.ruled_out) > _MOST_NOTED:
            noted["ruled_out_in_all"] = len(self.ruled_out)
        return noted


def choose(
    candidates: Sequence[Candidate],
    *,
    needs: frozenset[str],
    selection: Selection = NO_SELECTION,
    weights: Weights = Weights(),  # noqa: B008 - a frozen value
    draw: float | None = None,
    carries: Callable[[str], str] = lambda _name: "",
) -> Choice:
    """The order in which the candidates that fit are to be tried; as many as a call has attempts.

    ``draw`` (0 to 1) stands for chance; ``None``: nothing is explored. ``carries(name)`` says what of
    this request the deployment's own wire cannot carry, and is asked only of those that would be tried.
    """
    ruled_out: dict[str, str] = {}
    left = []
    for candidate in candidates:
        reason = _reason(candidate, needs, selection)
        if reason:
            ruled_out[candidate.name] = reason
        else:
            left.append(candidate)
    explored = draw is not None and draw < EXPLORE
    chance = random.Random(draw) if explored else None
    ranked = sorted((_estimate(item, weights, chance) for item in left), key=lambda item: -item.score)
    fitting: list[Estimate] = []
    for item in ranked:
        if len(fitting) == MOST_ATTEMPTS:
            break
        reason = carries(item.name)
        if reason:
            ruled_out[item.name] = reason
        else:
            fitting.append(item)
    return Choice(tuple(fitting), ruled_out, explored)


def best_of(candidates: Sequence[Candidate], choice: Choice) -> str:
    """The one that fits and is expected to be the best, whatever it costs; of equal ones the first in order."""
    known = {item.name: expected_quality(item.quality, item.standing) for item in candidates}
    return max((item.name for item in choice.fitting), key=lambda name: known[name])


def expected_quality(quality: float | None, standing: Standing) -> float:
    """The mean of what the quality may be."""
    good, bad = _quality(quality, standing)
    return good / (good + bad)


def _reason(candidate: Candidate, needs: frozenset[str], selection: Selection) -> str:
    """Why the candidate cannot serve; empty where it can."""
    if candidate.obstacle:
        return candidate.obstacle
    if candidate.cost is None or candidate.worst is None:
        return "no price is known"
    if missing := sorted(needs - candidate.capabilities):
        return f"does not declare {', '.join(missing)}"
    window = WINDOW_ASSUMED if candidate.window is None else candidate.window
    if candidate.tokens > window:
        told = " (assumed: it declares none)" if candidate.window is None else ""
        return f"its window of {window} tokens{told} is less than the {candidate.tokens} needed"
    standing = candidate.standing
    if selection.min_quality is not None:
        if candidate.quality is None and standing.ratings < _ENOUGH_RATINGS:
            return "declares no quality, and has too few ratings"
        if (quality := expected_quality(candidate.quality, standing)) < selection.min_quality:
            return f"its quality is {quality:.2f}, at least {selection.min_quality:.2f} is asked"
    if selection.max_cost is not None and candidate.worst > selection.max_cost:
        return (
            f"its worst case is {plain(usd(candidate.worst))} USD, at most {plain(usd(selection.max_cost))} is allowed"
        )
    seconds = _seconds(standing)
    if selection.max_latency is not None and standing.measured and seconds > selection.max_latency:
        return f"it takes {seconds:.2f} s, at most {selection.max_latency:.2f} s is allowed"
    return ""


def _estimate(candidate: Candidate, weights: Weights, chance: random.Random | None) -> Estimate:
    standing, cost = candidate.standing, candidate.cost or 0
    quality = _of(_quality(candidate.quality, standing), chance)
    success = _of((_SUCCESSES + standing.answered, _FAILURES + standing.failed), chance)
    seconds = _seconds(standing)
    score = (
        weights.quality * quality * success
        - weights.cost * cost / (cost + _HALF_COST)
        - weights.latency * seconds / (seconds + _HALF_SECONDS)
    )
    return Estimate(candidate.name, quality, success, seconds, standing.measured > 0, cost, score)


def _quality(quality: float | None, standing: Standing) -> tuple[float, float]:
    """The two parameters of the Beta distribution; never 0, so that it can be drawn from."""
    mean, worth = (0.5, _UNDECLARED_WORTH) if quality is None else (quality, _DECLARED_WORTH)
    good = mean * worth + standing.rating_sum
    bad = (1 - mean) * worth + standing.ratings - standing.rating_sum
    return max(good, 0.01), max(bad, 0.01)


def _of(parameters: tuple[float, float], chance: random.Random | None) -> float:
    good, bad = parameters
    return good / (good + bad) if chance is None else chance.betavariate(good, bad)


def _seconds(standing: Standing) -> float:
    return (_SECONDS * _SECONDS_WORTH + standing.seconds) / (_SECONDS_WORTH + standing.measured)
