"""Splits that only look back, and the identity of the data."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ValidationFailed
from gateway.ml.training import TrainingTable, data_hash, split_in_time, table_hash, walk_forward


def test_parts_follow_each_other_with_the_embargo_between(class_table: TrainingTable) -> None:
    parts = split_in_time(replace(class_table, embargo=21), (0.5, 0.2, 0.3))
    for before, after in pairwise(parts):
        gap = class_table.day[after.rows].min() - class_table.day[before.rows].max()
        assert gap == 22
    assert parts[-1].rows[-1] == len(class_table.x) - 1
    assert parts[0].start == "2000-01-01"


def test_rows_of_one_day_stay_together(class_table: TrainingTable) -> None:
    """Several portfolios share a day: none may be in the fit while its twin is in the test."""
    twice = replace(
        class_table,
        x=np.repeat(class_table.x, 2, axis=0),
        y=np.repeat(class_table.y, 2),
        day=np.repeat(class_table.day, 2),
        dates=np.repeat(class_table.dates, 2),
    )
    days = [set(twice.day[part.rows].tolist()) for part in split_in_time(twice, (0.5, 0.5))]
    assert not days[0] & days[1]


def test_too_little_data_is_refused(class_table: TrainingTable) -> None:
    few = replace(class_table, x=class_table.x[:60], y=class_table.y[:60], day=class_table.day[:60])
    with pytest.raises(ValidationFailed, match="too little data"):
        split_in_time(few, (0.5, 0.5))


@settings(deadline=None)
@given(st.integers(30, 400), st.integers(1, 5), st.integers(0, 10))
def test_walk_forward_never_looks_ahead(days: int, folds: int, embargo: int) -> None:
    day = np.sort(np.random.default_rng(days).integers(0, days, 3 * days))
    seen: set[int] = set()
    for fit, validate in walk_forward(day, folds, embargo):
        assert not seen & set(validate.tolist())
        seen |= set(validate.tolist())
        if len(fit) and len(validate):
            assert day[fit].max() + embargo < day[validate].min()


def test_the_hash_is_of_names_values_and_shape(class_table: TrainingTable) -> None:
    original = table_hash(class_table)
    changed = class_table.x.copy()
    changed[0, 0] = np.nextafter(changed[0, 0], 9.0)
    assert table_hash(replace(class_table, x=class_table.x.copy())) == original
    assert table_hash(replace(class_table, x=changed)) != original
    assert table_hash(replace(class_table, dates=class_table.dates + 1)) != original
    values = np.arange(6.0)
    assert data_hash(("a",), values.reshape(2, 3)) != data_hash(("a",), values.reshape(3, 2))
    assert data_hash(("a",), values) != data_hash(("b",), values)
