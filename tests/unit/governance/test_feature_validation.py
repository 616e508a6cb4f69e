"""What a caller may send to a predictive model, and what is refused with which path."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ValidationFailed
from gateway.governance.feature_validation import check_features, out_of_range
from gateway.models.ml_models import FeatureSpec, ModelSchema

SOURCE = Path(__file__).parents[3] / "src"
ROWS = ModelSchema(
    features=(FeatureSpec("vol_21", minimum=0.05, maximum=0.6), FeatureSpec("return_21", minimum=-0.3, maximum=0.3)),
    max_rows=3,
)
SERIES = ModelSchema(
    features=(FeatureSpec("price", minimum=1e-9),), kind="series", max_rows=6, min_length=3, max_horizon=5
)


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        ({"rows": [[1, 2.5]]}, ((1.0, 2.5),)),
        ({"rows": ((1, 2), (3, 4))}, ((1.0, 2.0), (3.0, 4.0))),
        ({"features": {"return_21": 2, "vol_21": 1}}, ((1.0, 2.0),)),
        ({"features": [{"vol_21": 1, "return_21": 2}, {"return_21": 4, "vol_21": 3}]}, ((1.0, 2.0), (3.0, 4.0))),
        ({"features": [1, 2]}, ((1.0, 2.0),)),
        ({"features": [[1, 2], [3, 4]]}, ((1.0, 2.0), (3.0, 4.0))),
    ],
)
def test_rows_are_read_in_every_form(inputs: dict[str, Any], rows: tuple[tuple[float, ...], ...]) -> None:
    assert check_features(ROWS, inputs).rows == rows


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ([], "input_data"),
        ({}, "input_data.features"),
        ({"rows": [[1, 2]], "features": [1, 2]}, "input_data.features"),
        ({"rows": [[1, 2]], "extra": 1}, "input_data.extra"),
        ({"features": "vol_21"}, "input_data.features"),
        ({"features": None}, "input_data.features"),
        ({"features": []}, "input_data.features"),
        ({"features": {}}, "input_data.features.vol_21"),
        ({"features": {"vol_21": 1}}, "input_data.features.return_21"),
        ({"features": {"vol_21": 1, "return_21": 2, "volt": 3}}, "input_data.features.volt"),
        ({"features": {"vol_21": 1, "return_21": 2, 7: 3}}, "input_data.features.7"),
        ({"features": {"vol_21": True, "return_21": 2}}, "input_data.features.vol_21"),
        ({"features": {"vol_21": "0.2", "return_21": 2}}, "input_data.features.vol_21"),
        ({"features": {"vol_21": None, "return_21": 2}}, "input_data.features.vol_21"),
        ({"features": {"vol_21": float("nan"), "return_21": 2}}, "input_data.features.vol_21"),
        ({"features": {"vol_21": 1, "return_21": 10**400}}, "input_data.features.return_21"),
        ({"features": [{"vol_21": 1, "return_21": 2}, [1, 2]]}, "input_data.features[1]"),
        ({"features": [{"vol_21": 1, "return_21": 2}, {"vol_21": 1}]}, "input_data.features[1].return_21"),
        ({"features": [1]}, "input_data.features"),
        ({"features": [1, [2]]}, "input_data.features[1]"),
        ({"rows": []}, "input_data.rows"),
        ({"rows": "12"}, "input_data.rows"),
        ({"rows": ["12"]}, "input_data.rows[0]"),
        ({"rows": [[1, 2], [1, 2, 3]]}, "input_data.rows[1]"),
        ({"rows": [[1, float("-inf")]]}, "input_data.rows[0][1]"),
        ({"rows": [[1, 2]] * 4}, "input_data.rows"),
        ({"features": [{"vol_21": 1, "return_21": 2}] * 4}, "input_data.features"),
        ({"series": [1, 2, 3]}, "input_data.features"),
    ],
)
def test_nasty_rows_are_refused_at_their_path(inputs: Any, path: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_features(ROWS, inputs)
    assert refused.value.param == path
    assert refused.value.message.startswith(path)
    assert refused.value.mend


def test_refusal_lists_the_names_and_suggests_the_near_one() -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_features(ROWS, {"features": {"vol_20": 1, "return_21": 2}})
    assert "did you mean 'vol_21'" in refused.value.message
    assert "vol_21, return_21" in refused.value.mend


def test_a_value_of_the_caller_is_never_repeated() -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_features(ROWS, {"features": {"vol_21": "4111-1111-1111-1111", "return_21": 0}})
    assert "4111" not in refused.value.message + refused.value.mend + repr(refused.value.details)


def test_a_series_becomes_rows_of_one_value() -> None:
    checked = check_features(SERIES, {"series": [1, 2.0, 3], "horizon": 2}, explain=True, parameters={"a": 1})
    assert checked.rows == ((1.0,), (2.0,), (3.0,))
    assert (checked.horizon, checked.explain, checked.parameters) == (2, True, {"a": 1})
    assert check_features(SERIES, {"series": [1, 2, 3]}).horizon == 1


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({"horizon": 2}, "input_data.series"),
        ({"series": [1, 2]}, "input_data.series"),
        ({"series": [1] * 7}, "input_data.series"),
        ({"series": "1234"}, "input_data.series"),
        ({"series": {"a": 1}}, "input_data.series"),
        ({"series": [1, 2, None]}, "input_data.series[2]"),
        ({"series": [1, 0.0, 3]}, "input_data.series[1]"),
        ({"series": [1, 2, 3], "horizon": 0}, "input_data.horizon"),
        ({"series": [1, 2, 3], "horizon": 6}, "input_data.horizon"),
        ({"series": [1, 2, 3], "horizon": True}, "input_data.horizon"),
        ({"series": [1, 2, 3], "horizon": 2.0}, "input_data.horizon"),
        ({"series": [1, 2, 3], "rows": [[1]]}, "input_data.rows"),
    ],
)
def test_nasty_series_are_refused_at_their_path(inputs: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_features(SERIES, inputs)
    assert refused.value.param == path


def test_values_outside_training_are_named() -> None:
    assert out_of_range(ROWS, (0.2, 0.0)) == ()
    assert out_of_range(ROWS, (0.05, 0.3)) == ()
    assert out_of_range(ROWS, (0.7, -0.4)) == ("vol_21", "return_21")
    assert out_of_range(ModelSchema(features=(FeatureSpec("free"),)), (1e9,)) == ()


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
NAMED = st.dictionaries(st.sampled_from(["vol_21", "return_21", "x"]), VALUES, max_size=3)
ANYTHING = VALUES | NAMED | st.lists(VALUES | NAMED | st.lists(VALUES, max_size=3), max_size=4)
INPUTS = st.dictionaries(st.sampled_from(["rows", "features", "series", "horizon", "other"]), ANYTHING, max_size=2)


@given(schema=st.sampled_from([ROWS, SERIES]), inputs=INPUTS)
def test_whatever_comes_is_read_or_refused(schema: ModelSchema, inputs: dict[str, Any]) -> None:
    rows: tuple[tuple[float, ...], ...] = ()
    place = "input_data"
    try:
        rows = check_features(schema, inputs).rows
    except ValidationFailed as refused:
        place = str(refused.param)
    assert place.startswith("input_data")
    assert len(rows) <= schema.max_rows
    assert all(math.isfinite(value) for row in rows for value in row)
    assert {len(row) for row in rows} <= {len(schema.features)}


def test_the_check_needs_no_numpy() -> None:
    code = "import sys, gateway.governance.feature_validation; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": str(SOURCE)}).returncode == 0
