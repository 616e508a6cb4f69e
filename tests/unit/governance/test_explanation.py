"""Contributions in words."""

from __future__ import annotations

import pytest

from gateway.governance.explanation import additive, described, readable, reasons
from gateway.models.ml_models import Contribution, FeatureSpec

SPECS = (
    FeatureSpec("vol_21", "volatility over 21 days", "annualised"),
    FeatureSpec("skew_63", "skewness over 63 days", ""),
)


def test_the_strongest_comes_first_with_its_direction() -> None:
    found = reasons(
        [Contribution("skew_63", -0.5, -0.25), Contribution("vol_21", 0.4213, 0.75), Contribution("other", 1.0, 0.0)],
        SPECS,
        raises="speaks for high risk",
        lowers="speaks against high risk",
    )
    assert [reason.feature for reason in found] == ["vol_21", "skew_63"]
    assert found[0].text == "volatility over 21 days is 42.1 %: speaks for high risk (+0.75, weight 75%)"
    assert found[1].text == "skewness over 63 days is -0.500: speaks against high risk (-0.25, weight 25%)"
    assert sum(reason.share for reason in found) == pytest.approx(1.0)


def test_no_contribution_gives_no_reason() -> None:
    assert reasons([Contribution("vol_21", 0.1, 0.0)], SPECS, raises="up", lowers="down") == ()
    assert reasons([], SPECS, raises="up", lowers="down") == ()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.2314, "annualised", "23.1 %"),
        (0.0, "fraction", "0.00 %"),
        (3.14159, "", "3.14"),
        (-12.345, "days", "-12.3 days"),
        (0.5, "correlation", "0.500"),
        (1234.5, "USD", "1234 USD"),
        (1e-7, "", "1e-07"),
        (2.5e9, "", "2.5e+09"),
    ],
)
def test_values_are_read_at_three_digits(value: float, unit: str, text: str) -> None:
    assert readable(value, unit) == text


def test_a_feature_without_description_goes_by_its_name() -> None:
    assert described(FeatureSpec("worst_day_21"), 1.5) == "worst day 21 is 1.50"


def test_additivity_is_checked_to_the_tolerance() -> None:
    parts = [Contribution("a", 0.0, 0.1), Contribution("b", 0.0, 0.2)]
    assert additive(parts, 1.0, 1.3)
    assert not additive(parts, 1.0, 1.3 + 1e-6)
