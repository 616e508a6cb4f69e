"""What the ledger and callers' feedback together say could be saved. Pure; each piece of advice holds the figures
it follows from, so that whoever doubts it can do the sum again.

A cheaper model is advised for the calls of one model in one team and workflow where

- both models were scored there (``POST /feedback``), and the cheaper one is not worse by more than ``MARGIN``: the
  upper bound (one-sided, 90 %) of the difference of their mean scores, each mean with one score of 0 and one of 1
  added, stays below it;
- the same calls would have cost at most ``DEAR`` of what they did: the average call's tokens at the cheaper
  model's price card now, times the calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.ledger.usage_ask import UsageSum
from gateway.models.llm_models import Usage

#: So much worse, on a scale from 0 to 1, may the cheaper model be at most.
MARGIN = 0.05
#: One-sided, 90 %.
_Z = 1.2816
#: Advice that saves less than a fifth is not worth a change.
DEAR = 0.8
#: Prompts so short are cached by no provider.
CACHED_FROM = 1024
_LEAST_CALLS = 100
_LITTLE_CACHED = 0.1

#: What a usage costs at a model's price card now, and the card's name; ``None`` where no price is known.
Price = Callable[[str, Usage], tuple[int, str] | None]


class Rated(Struct, frozen=True):
    """The scores of the calls of one model in one team and workflow: how many, their sum and sum of squares."""

    model: str
    team: str
    workflow_id: str
    ratings: int
    total: float
    squares: float


class Advice(Struct, frozen=True):
    """One thing that could be done: for which calls (``where``), what it would save (units; ``at_most`` where that
    is a bound), and the figures that it follows from."""

    kind: str
    text: str
    where: dict[str, str]
    calls: int
    share_of_calls: float
    cost: int
    saves: int
    at_most: bool
    evidence: dict[str, Any]


def advised(used: Sequence[UsageSum], rated: Sequence[Rated], price: Price) -> list[Advice]:
    """All advice on these calls, what saves most first. ``used`` is by model, team and workflow_id."""
    scores = {(item.model, item.team, item.workflow_id): item for item in rated}
    calls_of: dict[str, int] = {}
    for row in used:
        calls_of[row.group["model"]] = calls_of.get(row.group["model"], 0) + row.sums["calls"]
    found = []
    for row in used:
        if row.sums["calls"] <= 0 or row.sums["cost"] <= 0:
            continue
        share = row.sums["calls"] / calls_of[row.group["model"]]
        found += _cheaper(row, share, scores, price)
        found += _cached(row, share, price)
    return sorted(found, key=lambda item: -item.saves)


def score_difference(dear: Rated, cheap: Rated) -> tuple[float, float]:
    """By how much the dear model's mean score is better, and the upper bound of that."""
    (one, one_error), (other, other_error) = _mean(dear), _mean(cheap)
    return one - other, one - other + _Z * math.sqrt(one_error + other_error)


def _mean(rated: Rated) -> tuple[float, float]:
    """The mean score and the square of its standard error, with a score of 0 and one of 1 added."""
    count, total, squares = rated.ratings + 2, rated.total + 1, rated.squares + 1
    mean = total / count
    return mean, max(squares / count - mean * mean, 0.0) / count


def _average(sums: Mapping[str, int]) -> Usage:
    names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
    counts: dict[str, Any] = {name: sums[name] // sums["calls"] for name in names}
    return Usage(**counts, basis="counted")


def _cheaper(row: UsageSum, share: float, scores: Mapping[tuple[str, str, str], Rated], price: Price) -> list[Advice]:
    model, team, workflow = (row.group[name] for name in ("model", "team", "workflow_id"))
    own = scores.get((model, team, workflow))
    if own is None:
        return []
    calls, cost, average = row.sums["calls"], row.sums["cost"], _average(row.sums)
    best: Advice | None = None
    for other in scores.values():
        if (other.team, other.workflow_id) != (team, workflow) or other.model == model:
            continue
        difference, bound = score_difference(own, other)
        told = price(other.model, average)
        if bound > MARGIN or told is None or told[0] * calls > DEAR * cost:
            continue
        saves = cost - told[0] * calls
        if best is None or saves > best.saves:
            evidence = {
                "instead": other.model,
                "price_card": told[1],
                "average_call": _told(average),
                "cost_per_call": told[0],
                "scores": {item.model: _score(item) for item in (own, other)},
                "difference": round(difference, 6),
                "difference_at_most": round(bound, 6),
                "margin": MARGIN,
            }
            text = (
                f"{share:.0%} of the calls to {model} could go to {other.model}: it was scored as good there "
                f"(not worse by more than {max(bound, 0):.3f}), at {told[0] * calls / cost:.0%} of the cost"
            )
            where = {"model": model, "team": team, "workflow_id": workflow}
            best = Advice("cheaper_model", text, where, calls, share, cost, saves, False, evidence)
    return [best] if best is not None else []


def _cached(row: UsageSum, share: float, price: Price) -> list[Advice]:
    """Long prompts that the provider's cache hardly served: what it could save at most."""
    calls, sums, average = row.sums["calls"], row.sums, _average(row.sums)
    if calls < _LEAST_CALLS or average.input_tokens < CACHED_FROM:
        return []
    if sums["cached_tokens"] > _LITTLE_CACHED * sums["input_tokens"]:
        return []
    model = row.group["model"]
    now = price(model, average)
    cached = price(model, replace(average, cached_tokens=average.input_tokens, cache_write_tokens=0))
    if now is None or cached is None or cached[0] >= now[0]:
        return []
    text = (
        f"prompts of {model} have {average.input_tokens} tokens on average, and the provider's cache served "
        f"{sums['cached_tokens'] / sums['input_tokens']:.0%} of them: set optimise.prompt_cache, begin prompts alike"
    )
    evidence = {
        "price_card": now[1],
        "average_call": _told(average),
        "cost_per_call": now[0],
        "cost_per_cached_call": cached[0],
    }
    where = {name: row.group[name] for name in ("model", "team", "workflow_id")}
    saves = (now[0] - cached[0]) * calls
    return [Advice("prompt_cache", text, where, calls, share, row.sums["cost"], saves, True, evidence)]


def _score(rated: Rated) -> dict[str, float]:
    return {"ratings": rated.ratings, "mean": rated.total / rated.ratings}


def _told(usage: Usage) -> dict[str, int]:
    names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
    return {name: getattr(usage, name) for name in names}
