"""The bundled files are those that SOURCE.md tells of, and hold what it says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from gateway.errors import ValidationFailed
from gateway.risk.calibration import economy, eur_usd
from gateway.risk.market_data import FOLDER, bundled

ROWS = re.findall(
    r"^\| `([\w.-]+\.parquet)` \|.*`([0-9a-f]{64})` \|$", (FOLDER / "SOURCE.md").read_text(), re.MULTILINE
)


def test_every_file_is_in_the_table() -> None:
    assert {name for name, _ in ROWS} == {path.name for path in Path(FOLDER).glob("*.parquet")}


@pytest.mark.parametrize(("name", "digest"), ROWS)
def test_its_hash_is_the_one_that_is_written(name: str, digest: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_twenty_stocks_from_1990_to_2022() -> None:
    data = bundled("sp500-20")
    assert data.prices.shape == (8313, 20)
    assert (str(data.dates[0]), str(data.dates[-1])) == ("1990-01-02", "2022-12-28")
    assert np.isfinite(data.prices).all()
    assert (data.prices > 0).all()
    assert (data.dates[1:] > data.dates[:-1]).all()
    assert data.weights.sum() == pytest.approx(1)


def test_the_crashes_are_in_the_data() -> None:
    """Black Monday of the pandemic, 16 March 2020, when the S&P 500 lost 12 %."""
    data = bundled("sp500-20")
    day = int(np.flatnonzero(data.dates == np.datetime64("2020-03-16"))[0]) - 1
    assert data.portfolio_returns()[day] == pytest.approx(-0.117, abs=0.03)


def test_the_economy_is_monthly_and_plausible() -> None:
    series = economy()
    assert {len(values) for values in series.values()} == {347}
    assert -0.01 < series["short_rate"].min() < series["short_rate"].max() < 0.1
    assert len(eur_usd()) == 21
    assert eur_usd().min() > 0.9


def test_an_unknown_set_lists_the_known() -> None:
    with pytest.raises(ValidationFailed) as caught:
        bundled("nasdaq")
    assert "sp500-20" in (caught.value.mend or "")
