"""Market data in each of its forms; what is wrong is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.errors import ValidationFailed
from gateway.risk.features import anomaly_table, asset_scores, risk_table, segment_table
from gateway.risk.market_data import MarketData, bundled, from_parquet, parse_market_data, to_parquet

DAYS = [str(day) for day in np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")]
PRICES = [[100 + at, 50 + at % 7] for at in range(len(DAYS))]
WIDE = [{"date": day, "A": row[0], "B": row[1]} for day, row in zip(DAYS, PRICES, strict=True)]
LONG = [
    {"date": day, "asset": name, "price": row[at]}
    for day, row in zip(DAYS, PRICES, strict=True)
    for at, name in enumerate("AB")
]
CSV = "date,A,B\n" + "\n".join(f"{day},{a},{b}" for day, (a, b) in zip(DAYS, PRICES, strict=True))
FORMS: dict[str, Any] = {
    "wide": WIDE,
    "long": LONG,
    "records": {"records": WIDE},
    "csv": {"csv": CSV},
    "prices": {"prices": PRICES, "dates": DAYS, "assets": ["A", "B"]},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_prices(form: str) -> None:
    data, report = parse_market_data(FORMS[form])
    assert data.assets == ("A", "B")
    assert data.prices.tolist() == PRICES
    assert [str(day) for day in data.dates] == DAYS
    assert report.rows == len(DAYS)
    assert data.weights.tolist() == [0.5, 0.5]


def test_a_name_is_a_data_set() -> None:
    data, _ = parse_market_data("sp500-20")
    assert data.prices.shape == (8313, 20)


def test_a_data_set_can_be_cut() -> None:
    raw = {"dataset": "sp500-20", "start": "2008-01-01", "end": "2008-12-31", "assets": ["JPM", "GE"]}
    data, _ = parse_market_data(raw)
    assert data.prices.shape == (253, 2)
    assert data.assets == ("JPM", "GE")


def test_rows_in_disorder_are_sorted_and_a_gap_takes_the_price_before() -> None:
    rows: list[dict[str, Any]] = [dict(row) for row in reversed(WIDE)]
    rows[3]["A"] = None
    data, report = parse_market_data(rows)
    assert report.filled == {"A": 1}
    assert data.prices[-4, 0] == data.prices[-5, 0]
    assert report.notes


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (7, "market data is expected"),
        ({"portfolio": []}, "no market data"),
        ([], "data"),
        ([{"date": "2024-01-01", "A": 1}], "at least"),
        ([*WIDE, WIDE[0]], "twice"),
        ([{**WIDE[0], "A": -1}, *WIDE[1:]], "positive"),
        ([{**WIDE[0], "A": "much"}, *WIDE[1:]], "A"),
        ([{**WIDE[0], "date": "yesterday"}, *WIDE[1:]], "date"),
        ({"dataset": "sp500-20", "assets": ["NOPE"]}, "NOPE"),
        ({"dataset": "sp500-20", "colour": 1}, "colour"),
        ({"dataset": "sp500-20", "start": "2030-01-01"}, "data"),
        ({"records": WIDE, "weights": {"A": 0.5, "C": 0.5}}, "weights"),
        ({"records": WIDE, "weights": {"A": float("nan"), "B": 1}}, "weights"),
        ({"csv": "date\n"}, "data"),
        ({"prices": [[1, 2], [3]], "dates": DAYS[:2], "assets": ["A", "B"]}, "data"),
    ],
)
def test_bad_data_is_refused_with_the_place(raw: Any, named: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_market_data(raw)
    assert named in f"{caught.value.message} {caught.value.mend} {caught.value.param}"


def test_parquet_gives_back_what_it_was_given() -> None:
    data, _ = parse_market_data({"records": WIDE, "weights": {"A": 0.3, "B": 0.7}})
    again = from_parquet(to_parquet(data))
    assert (again.name, again.assets) == (data.name, data.assets)
    assert (again.prices == data.prices).all()
    assert (again.weights == data.weights).all()
    with pytest.raises(ValidationFailed):
        from_parquet(b"PAR1 no")


def cut(data: MarketData, rows: int) -> MarketData:
    return MarketData(data.name, data.dates[:rows], data.assets, data.prices[:rows], data.weights)


@pytest.mark.parametrize("make", [risk_table, anomaly_table])
def test_a_row_of_features_knows_only_its_past(make: Any) -> None:
    """The tables of a shorter history are the beginning of those of the longer."""
    data = bundled("sp500-20")
    whole, shorter = make(cut(data, 1200)), make(cut(data, 900))
    assert whole.index[: len(shorter.index)] == shorter.index
    assert np.allclose(whole.values[: len(shorter.values)], shorter.values, rtol=1e-9, atol=1e-12)
    assert whole.index[-1] == str(data.dates[1199])
    assert np.isfinite(whole.values).all()


@pytest.mark.parametrize("make", [risk_table, anomaly_table, segment_table])
def test_too_little_history_gives_no_rows_or_finite_ones(make: Any) -> None:
    table = make(cut(bundled("sp500-20"), 40))
    assert table.values.shape[1] == len(table.names)
    assert np.isfinite(table.values).all()


def test_features_by_hand() -> None:
    data = cut(bundled("sp500-20"), 600)
    table = risk_table(data)
    returns = data.simple_returns() @ data.weights
    row = dict(zip(table.names, table.values[-1], strict=True))
    assert row["vol_21"] == pytest.approx(returns[-21:].std(ddof=1) * np.sqrt(252))
    assert row["return_63"] == pytest.approx(np.prod(1 + returns[-63:]) - 1)
    assert row["worst_day_21"] == pytest.approx(returns[-21:].min())


def test_scores_stand_beside_the_table_of_anomalies() -> None:
    data = cut(bundled("sp500-20"), 400)
    dates, scores, returns = asset_scores(data)
    assert dates == anomaly_table(data).index
    assert scores.shape == returns.shape == (len(dates), 20)
