"""The segments of the bundled portfolio."""

from __future__ import annotations

import pytest

from gateway.errors import ValidationFailed
from gateway.risk.market_data import bundled
from gateway.workflows.segmentation import segment

from .model_kit import Bench, trained


def test_every_asset_is_in_one_segment_with_its_weight() -> None:
    output = Bench("portfolio-segments").run(segment, {"data": {"dataset": "sp500-20"}})
    assets = [one["asset"] for part in output["segments"] for one in part["assets"]]
    assert sorted(assets) == sorted(bundled("sp500-20").assets)
    assert sum(part["weight"] for part in output["segments"]) == pytest.approx(1.0, abs=1e-4)
    assert len(output["segments"]) >= 2
    assert all(one["reasons"] and one["distance"] >= 0 for part in output["segments"] for one in part["assets"])


def test_segments_rise_in_volatility() -> None:
    card = trained("portfolio-segments").card
    volatilities = [cluster["profile"]["volatility"] for cluster in card["clusters"]]
    assert volatilities == sorted(volatilities)
    assert len({cluster["name"] for cluster in card["clusters"]}) == len(volatilities)


def test_the_segmentation_beats_a_split_on_one_feature_out_of_sample() -> None:
    metrics = trained("portfolio-segments").metrics
    assert metrics["silhouette"] > metrics["baseline_silhouette"]
    assert metrics["stability"] > 0.5


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValidationFailed):
        Bench("portfolio-segments").run(segment, {"data": {"dataset": "sp500-20"}, "options": {"k": 3}})
