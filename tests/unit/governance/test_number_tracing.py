"""Each number of a text is shown to come from somewhere, or flagged."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.governance.number_tracing import Fact, facts_of, trace_numbers

FACTS = [
    Fact("VaR 99 %", 0.03306, "fraction", "risk: VaR"),
    Fact("worst day", "2008-10-15", "date", "anomalies: worst day"),
    Fact("loss", -9.87, "%", "anomalies: loss"),
    Fact("assets", 20, "", "data: assets"),
    Fact("capital", 1234567.89, "USD", "risk: capital"),
]


def traced(text: str, prompt: str = "") -> dict[str, str]:
    return {number.text: number.source or "flagged" for number in trace_numbers(text, FACTS, prompt)}


@pytest.mark.parametrize(
    ("text", "number", "source"),
    [
        ("VaR is 3.3 % of value", "3.3 %", "risk: VaR"),
        ("VaR is 3.306%", "3.306%", "risk: VaR"),
        ("VaR is 0.033", "0.033", "risk: VaR"),
        ("it lost 9.9 %", "9.9 %", "anomalies: loss"),
        ("it fell by -9.87 %", "-9.87 %", "anomalies: loss"),
        ("of 20 assets", "20", "data: assets"),
        ("USD 1,234,568 in all", "1,234,568", "risk: capital"),
        ("on 2008-10-15 it fell", "2008-10-15", "anomalies: worst day"),
        ("in 2008-10 it fell", "2008-10", "anomalies: worst day"),
    ],
)
def test_a_rounded_fact_is_traced(text: str, number: str, source: str) -> None:
    assert traced(text)[number] == source


@pytest.mark.parametrize("text", ["VaR is 3.4 %", "of 21 assets", "on 2009-01-01", "USD 1,234,569", "a loss of 33 %"])
def test_what_no_fact_says_is_flagged(text: str) -> None:
    assert set(traced(text).values()) == {"flagged"}


def test_numbers_of_the_prompt_count_as_given() -> None:
    assert traced("with 95 % confidence", "Use 95 % confidence") == {"95 %": "the prompt"}


def test_numbers_in_the_name_of_a_fact_count_as_given() -> None:
    facts = [Fact("volatility of 63 days", 22.5, "%", "risk: volatility")]
    found = trace_numbers("the volatility of the last 63 days is 22.5 %", facts)
    assert [number.status for number in found] == ["traced", "traced"]


def test_list_numbers_are_no_claims() -> None:
    assert traced("1. First\n2) Second, of 20 assets") == {"20": "data: assets"}


def test_facts_are_read_from_the_steps_before() -> None:
    found = facts_of({"a": {"facts": [{"name": "n", "value": 1, "unit": "USD"}, {"name": "x"}, 3]}, "b": {"n": 1}})
    assert found == [Fact("n", 1, "USD", "a: n")]


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    for number in trace_numbers(text, FACTS):
        assert number.status in ("traced", "flagged")


@given(st.floats(-1e9, 1e9, allow_nan=False), st.integers(0, 4))
def test_a_number_as_anyone_would_round_it_is_traced(value: float, digits: int) -> None:
    """But for a zero that is none: "no loss" is a claim of its own."""
    text = f"it is {value:.{digits}f} today"
    assume(float(f"{value:.{digits}f}") != 0 or value == 0)
    assert all(number.status == "traced" for number in trace_numbers(text, [Fact("x", value, "", "here")]))
