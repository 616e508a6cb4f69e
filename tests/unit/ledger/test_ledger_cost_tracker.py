"""The small face: exact sums with no set-up."""

from __future__ import annotations

import logging
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.money_kit import DAY, ManualClock
from gateway.ledger.cost_tracker import CostTracker


def test_the_example_of_the_guide() -> None:
    tracker = CostTracker()
    tracker.record_llm_usage(model="gpt-4", tokens_used=1000, cost=0.03)
    tracker.record_ml_usage(model="risk-classifier", inference_time=0.5, cost=0.001)
    summary = tracker.get_cost_summary()
    assert f"Total cost: ${summary['total_cost']}" == "Total cost: $0.031"
    assert summary["calls"] == 2
    assert summary["tokens_used"] == 1000
    assert summary["inference_time"] == Decimal("0.5")
    assert summary["by_model"] == {"gpt-4": Decimal("0.03"), "risk-classifier": Decimal("0.001")}
    assert summary["by_kind"] == {"llm": Decimal("0.03"), "ml": Decimal("0.001")}


def test_an_empty_tracker_cost_nothing() -> None:
    assert CostTracker().get_cost_summary() == {
        "total_cost": Decimal(0),
        "calls": 0,
        "tokens_used": 0,
        "inference_time": Decimal(0),
        "by_model": {},
        "by_provider": {},
        "by_kind": {},
        "by_day": {},
        "alert": False,
    }


def test_days_and_providers() -> None:
    clock = ManualClock()
    tracker = CostTracker(clock=clock)
    tracker.record_llm_usage("gpt-4", 1, "0.1", provider="openai")
    clock.time += DAY
    tracker.record_llm_usage("gpt-4", 1, Decimal("0.2"))
    summary = tracker.get_cost_summary()
    assert summary["by_day"] == {"2026-03-04": Decimal("0.1"), "2026-03-05": Decimal("0.2")}
    assert summary["by_provider"] == {"openai": Decimal("0.1"), "unspecified": Decimal("0.2")}


@given(st.lists(st.floats(min_value=0, max_value=1e12) | st.decimals(0, 10**9, places=12), max_size=30))
def test_every_digit_is_kept(costs: list[float | Decimal]) -> None:
    tracker = CostTracker()
    for cost in costs:
        tracker.record_ml_usage("m", 0, cost)
    exact = sum((Fraction(Decimal(str(cost))) for cost in costs), Fraction(0))
    assert Fraction(tracker.get_cost_summary()["total_cost"]) == exact


@pytest.mark.parametrize(
    "cost",
    [
        -0.01,
        "-1",
        Decimal("-0.1"),
        float("nan"),
        float("inf"),
        "NaN",
        "Infinity",
        "sNaN",
        "free",
        "",
        None,
        True,
        "1e13",
        "1e-2000",
    ],
)
def test_bad_costs_are_refused_and_leave_no_trace(cost: Any) -> None:
    tracker = CostTracker()
    with pytest.raises(ValueError, match="cost"):
        tracker.record_llm_usage("gpt-4", 1, cost)
    with pytest.raises(ValueError, match="cost"):
        tracker.record_ml_usage("gpt-4", 1, cost)
    assert tracker.get_cost_summary()["calls"] == 0


@pytest.mark.parametrize("tokens", [-1, 1.5, True, "7", 10**10])
def test_bad_token_counts_are_refused(tokens: Any) -> None:
    with pytest.raises(ValueError, match="tokens_used"):
        CostTracker().record_llm_usage("gpt-4", tokens, 0)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "long"])
def test_bad_times_are_refused(seconds: Any) -> None:
    with pytest.raises(ValueError, match="inference_time"):
        CostTracker().record_ml_usage("m", seconds, 0)


def test_a_record_names_its_model() -> None:
    with pytest.raises(ValueError, match="model"):
        CostTracker().record_llm_usage("", 1, 0)


def test_threads_lose_nothing() -> None:
    tracker = CostTracker()

    def work() -> None:
        for _ in range(200):
            tracker.record_llm_usage("gpt-4", 3, 0.1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summary = tracker.get_cost_summary()
    assert (summary["calls"], summary["tokens_used"], summary["total_cost"]) == (1600, 4800, Decimal("160.0"))


def test_the_alert_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    tracker = CostTracker(cost_alert_threshold=0.3)
    with caplog.at_level(logging.WARNING):
        tracker.record_llm_usage("gpt-4", 1, 0.1)
        tracker.record_llm_usage("gpt-4", 1, 0.1)
        assert not tracker.get_cost_summary()["alert"]
        assert caplog.messages == []
        tracker.record_llm_usage("gpt-4", 1, 0.1)
        tracker.record_llm_usage("gpt-4", 1, 0.1)
    assert tracker.get_cost_summary()["alert"]
    assert len(caplog.messages) == 1
