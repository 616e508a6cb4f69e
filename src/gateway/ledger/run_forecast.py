"""What a run will cost before it is begun: from what past runs of its workflow used, at the prices of now, with the
prompts of now. Pure.

Each past run is done again on paper: every step's tokens at the price card that its model has now, its input longer
or shorter by as much as its prompt is now. The mean of these is what is expected, their quantiles are the interval.
Fewer than ``LEAST_RUNS`` runs give no honest quantile: then the interval is what the run can cost at least and at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import cost_llm, cost_ml, worst_case, worst_case_ml
from gateway.models.llm_models import Usage

#: The share of runs that the interval is to hold.
NOMINAL = 0.8
LEAST_RUNS = 9
#: Past runs that are looked at, the newest.
MOST_RUNS = 200
#: Tokens that an answer has, as long as nothing is known of those of this step.
USUAL_OUTPUT = 256


class PastStep(Struct, frozen=True):
    """What the calls of one step of a past run to one model used and cost; ``prompt_tokens`` of the prompt that it
    was begun with, where it is known."""

    run_id: str
    step_id: str
    model: str
    calls: int
    usage: Usage
    cost: int
    prompt_tokens: int | None = None


class StepNow(Struct, frozen=True):
    """A step as it would run now. ``card`` is the price of its language model (``None``: it calls none, or one whose
    price is unknown: then its past costs count as they are). ``most_input`` bounds its input, where something does.
    ``prediction`` is the price of its predictive model: how many rows, and how long, nobody knows before."""

    step_id: str
    model: str = ""
    card: PriceCard | None = None
    prompt_tokens: int | None = None
    most_input: int | None = None
    max_output: int | None = None
    output_bound: int = 0
    seconds: float = 0.0
    prediction: PriceCard | None = None


class StepForecast(Struct, frozen=True):
    """What one step is expected to cost, and the most that one call of it can (``None``: nothing bounds it)."""

    step_id: str
    model: str
    expected: int
    most: int | None
    runs: int
    price_card: str


class RunForecast(Struct, frozen=True):
    """What a run is expected to cost (units), and between what. ``basis`` is ``history`` or ``bounds``."""

    expected: int
    low: int
    high: int | None
    basis: Literal["history", "bounds"]
    runs: int
    steps: tuple[StepForecast, ...]


def forecast_run(steps: Sequence[StepNow], past: Sequence[PastStep]) -> RunForecast:
    """The forecast; ``past`` holds the steps of completed runs."""
    now = {step.step_id: step for step in steps}
    by_run: dict[str, dict[str, int]] = {}
    for item in past:
        sums = by_run.setdefault(item.run_id, {})
        if item.step_id in now:
            sums[item.step_id] = sums.get(item.step_id, 0) + _again(item, now[item.step_id])
    told = tuple(_step(step, by_run) for step in steps)
    if len(by_run) >= LEAST_RUNS:
        totals = sorted(sum(sums.values()) for sums in by_run.values())
        low, high = _interval(totals)
        return RunForecast(round(sum(totals) / len(totals)), low, high, "history", len(totals), told)
    most = [step.most for step in told]
    least = sum(_least(step) for step in steps)
    expected = sum(step.expected for step in told)
    bound = None if None in most else max(sum(item or 0 for item in most), expected)
    return RunForecast(expected, min(least, expected), bound, "bounds", len(by_run), told)


def _again(item: PastStep, now: StepNow) -> int:
    """What the past calls would cost now."""
    if now.card is None or item.calls <= 0:
        return item.cost
    usage = Usage(
        **{
            name: getattr(item.usage, name) // item.calls
            for name in ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
        },
        basis="counted",
    )
    if now.prompt_tokens is not None and item.prompt_tokens is not None:
        inputs = max(usage.input_tokens + now.prompt_tokens - item.prompt_tokens, 1)
        usage = replace(usage, input_tokens=inputs, cached_tokens=min(usage.cached_tokens, inputs))
    return cost_llm(now.card, usage) * item.calls


def _step(step: StepNow, by_run: Mapping[str, Mapping[str, int]]) -> StepForecast:
    card = step.card or step.prediction
    name = "" if card is None else card.name
    costs = [sums[step.step_id] for sums in by_run.values() if step.step_id in sums]
    if costs:
        expected = round(sum(costs) / len(by_run))
    elif step.prediction is not None:
        expected = _least(step)
    elif card is not None:
        output = min(step.max_output or USUAL_OUTPUT, USUAL_OUTPUT)
        expected = cost_llm(card, Usage(step.prompt_tokens or 0, output))
    else:
        expected = 0
    return StepForecast(step.step_id, step.model, expected, _most(step), len(costs), name)


def _least(step: StepNow) -> int:
    """The prompt alone, and an answer of nothing; of a prediction one row, in no time."""
    if step.prediction is not None:
        return cost_ml(step.prediction, 0, 1)
    return 0 if step.card is None else cost_llm(step.card, Usage(step.prompt_tokens or 0, 0))


def _most(step: StepNow) -> int | None:
    if step.prediction is not None:
        bounded = not step.prediction.per_second and not step.prediction.per_row
        return worst_case_ml(step.prediction) if bounded else None
    if step.card is None:
        return 0 if not step.model else None
    if step.most_input is None:
        return None
    return worst_case(
        step.card, input_tokens=step.most_input, max_output_tokens=step.output_bound, max_seconds=step.seconds
    )


def _interval(totals: Sequence[int]) -> tuple[int, int]:
    count, tail = len(totals), (1 - NOMINAL) / 2
    low = math.floor((count + 1) * tail + 1e-9)
    high = math.ceil((count + 1) * (1 - tail) - 1e-9)
    return totals[max(low, 1) - 1], totals[min(high, count) - 1]
