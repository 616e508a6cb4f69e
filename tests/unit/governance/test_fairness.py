"""Group metrics against figures worked out by hand and identities that must hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ValidationFailed
from gateway.governance.fairness import fairness, wilson


def test_the_guidelines_own_example() -> None:
    """29 CFR 1607.4 D in the agencies' questions and answers: 48 of 80 and 12 of 40 are hired: .60 and .30."""
    report = fairness(["a"] * 80 + ["b"] * 40, [True] * 48 + [False] * 32 + [True] * 12 + [False] * 28)
    assert [(row.group, row.count, row.selected) for row in report.groups] == [("a", 80, 48), ("b", 40, 12)]
    assert report.four_fifths_ratio == pytest.approx(0.5)
    assert report.passes_four_fifths is False
    assert report.selection_gap == pytest.approx(0.3)
    assert any("0.500" in warning for warning in report.warnings)
    assert report.true_positive_gap is None


def test_positive_rates_and_gaps() -> None:
    groups = ["x"] * 40 + ["y"] * 40
    actual = ([True] * 20 + [False] * 20) * 2
    selected = (
        [True] * 15 + [False] * 5 + [True] * 4 + [False] * 16 + [True] * 10 + [False] * 10 + [True] * 2 + [False] * 18
    )
    report = fairness(groups, selected, actual)
    x, y = report.groups
    assert (x.true_positive_rate, x.false_positive_rate) == (0.75, 0.2)
    assert (y.true_positive_rate, y.false_positive_rate) == (0.5, 0.1)
    assert report.true_positive_gap == pytest.approx(0.25)
    assert report.false_positive_gap == pytest.approx(0.1)
    assert report.equalised_odds_gap == pytest.approx(0.25)


def test_small_groups_are_said_to_be_uncertain() -> None:
    report = fairness(["a"] * 50 + ["b"] * 3, [True] * 53, [True] * 53)
    said = "\n".join(report.warnings)
    assert "'b' has only 3 people" in said
    assert "'a' has only 0 actual no" in said
    assert report.groups[0].false_positive_rate is None
    assert report.false_positive_gap is None
    assert report.equalised_odds_gap is None


def test_nobody_selected_has_no_ratio() -> None:
    report = fairness(["a", "b"], [False, False])
    assert report.four_fifths_ratio is None
    assert report.passes_four_fifths is None


@pytest.mark.parametrize(
    ("groups", "selected", "actual", "param"),
    [
        (["a", "a"], [True, False], None, "groups"),
        ([], [], None, "groups"),
        (["a", "b"], [True], None, "selected"),
        (["a", "b"], [True, 2], None, "selected"),
        (["a", "b"], [True, None], None, "selected"),
        (["a", "b"], [True, False], ["yes", "no"], "actual"),
    ],
)
def test_wrong_input_is_refused(groups: list[str], selected: list[bool], actual: list[bool] | None, param: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        fairness(groups, selected, actual)
    assert refused.value.param == param


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_counts_add_up_and_rates_stay_in_bounds(people: list[tuple[str, bool, bool]]) -> None:
    groups, selected, actual = zip(*people, strict=True)
    if len(set(groups)) < 2:
        return
    report = fairness(groups, selected, actual)
    assert sum(row.count for row in report.groups) == len(people)
    assert sum(row.selected for row in report.groups) == sum(selected)
    for row in report.groups:
        assert 0 <= row.low <= row.selection_rate <= row.high <= 1
    if report.four_fifths_ratio is not None:
        assert 0 <= report.four_fifths_ratio <= 1


def test_wilson_against_the_published_example() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
