"""What a run will cost, from runs whose costs are known."""

from __future__ import annotations

import random
from decimal import Decimal

from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import cost_llm, cost_ml, local_card, worst_case
from gateway.ledger.run_forecast import LEAST_RUNS, PastStep, StepNow, forecast_run
from gateway.models.llm_models import Usage

CARD = PriceCard("card", "test", input_per_million=Decimal(10), output_per_million=Decimal(30))
NOW = StepNow("s", "m", CARD, prompt_tokens=100, most_input=300, max_output=500, output_bound=500)


def past(run: int, inputs: int, output: int, prompt: int | None = 100, **fields: object) -> PastStep:
    values = {"run_id": f"r{run}", "step_id": "s", "model": "m", "calls": 1, "cost": 1, "prompt_tokens": prompt}
    return PastStep(**values, **fields, usage=Usage(inputs, output))  # type: ignore[arg-type]


def test_the_same_again_is_the_same_at_the_price_of_now() -> None:
    found = forecast_run([NOW], [past(run, 150, 20) for run in range(LEAST_RUNS)])
    assert found.basis == "history"
    assert found.expected == found.low == found.high == cost_llm(CARD, Usage(150, 20))


def test_a_longer_prompt_costs_its_tokens_more() -> None:
    runs = [past(run, 150, 20, prompt=60) for run in range(LEAST_RUNS)]
    assert forecast_run([NOW], runs).expected == cost_llm(CARD, Usage(190, 20))
    unknown = StepNow("s", "m", CARD)
    assert forecast_run([unknown], runs).expected == cost_llm(CARD, Usage(150, 20))


def test_the_interval_holds_about_as_many_runs_as_it_says() -> None:
    chance = random.Random(3)
    inside = 0
    for _ in range(300):
        outputs = [int(chance.lognormvariate(4, 0.6)) for _ in range(40)]
        found = forecast_run([NOW], [past(run, 150, output) for run, output in enumerate(outputs[:-1])])
        assert found.high is not None
        inside += found.low <= cost_llm(CARD, Usage(150, outputs[-1])) <= found.high
    assert 0.74 <= inside / 300 <= 0.9


def test_without_enough_runs_the_bounds_are_told() -> None:
    most = worst_case(CARD, input_tokens=300, max_output_tokens=500)
    found = forecast_run([NOW], [])
    assert (found.basis, found.runs, found.high) == ("bounds", 0, most)
    assert found.low == cost_llm(CARD, Usage(100, 0)) < found.expected == cost_llm(CARD, Usage(100, 256)) < most
    one = forecast_run([NOW], [past(1, 150, 20)])
    assert (one.basis, one.expected, one.high) == ("bounds", cost_llm(CARD, Usage(150, 20)), most)
    assert forecast_run([StepNow("s", "m", CARD)], []).high is None


def test_steps_that_call_nothing_or_cost_what_they_cost() -> None:
    runs = [PastStep(f"r{run}", "ml", "classifier", 1, Usage(), 70) for run in range(LEAST_RUNS)]
    found = forecast_run([StepNow("prep"), StepNow("ml", "classifier")], runs)
    assert (found.expected, [step.expected for step in found.steps]) == (70, [0, 70])
    skipped = [*runs[:-1], PastStep("r-last", "", "", 0, Usage(), 0)]
    assert forecast_run([StepNow("ml", "classifier")], skipped).expected == round(70 * 8 / 9)


def test_a_prediction_costs_at_least_its_call_and_a_row() -> None:
    priced = PriceCard("p", "test", per_call=Decimal("0.001"), per_row=Decimal("0.0001"), per_second=Decimal("0.01"))
    found = forecast_run([StepNow("s", "m", prediction=priced)], [])
    assert found.low == found.expected == cost_ml(priced, 0, 1) > 0
    assert (found.high, found.steps[0].price_card) == (None, "p")
    by_call = forecast_run([StepNow("s", "m", prediction=PriceCard("p", "test", per_call=Decimal("0.001")))], [])
    assert by_call.low == by_call.high == by_call.expected == 10**7
    assert forecast_run([StepNow("s", "m", prediction=local_card())], []).high == 0
