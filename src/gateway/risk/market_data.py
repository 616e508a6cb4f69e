"""Prices of assets over days: the bundled portfolio, and every form in which callers send their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gateway.errors import ValidationFailed

FOLDER = Path(__file__).with_name("data")
DATASETS = {"sp500-20": "twenty S&P 500 stocks, adjusted daily closes, 1990-01-02 to 2022-12-28"}
MOST_ROWS, MOST_ASSETS, LEAST_ROWS = 60_000, 500, 30
#: An unchanged price on so many days in a row is called stale.
STALE_DAYS = 5

_FORMS = (
    'give {"dataset": "sp500-20"}, a list of records, {"csv": "…"} or {"dates": […], "assets": […], "prices": [[…]]}'
)


@dataclass(frozen=True, slots=True)
class MarketData:
    """Prices of N assets on T days, ascending, no gaps: shape (T, N), all positive. Weights sum to 1."""

    name: str
    dates: NDArray[np.datetime64]
    assets: tuple[str, ...]
    prices: NDArray[np.float64]
    weights: NDArray[np.float64]

    def log_returns(self) -> NDArray[np.float64]:
        """Daily log returns, shape (T-1, N)."""
        returns: NDArray[np.float64] = np.diff(np.log(self.prices), axis=0)
        return returns

    def simple_returns(self) -> NDArray[np.float64]:
        """Daily simple returns, shape (T-1, N)."""
        returns: NDArray[np.float64] = self.prices[1:] / self.prices[:-1] - 1.0
        return returns

    def portfolio_returns(self) -> NDArray[np.float64]:
        """Simple returns of the portfolio rebalanced daily to ``weights``, shape (T-1,)."""
        returns: NDArray[np.float64] = self.simple_returns() @ self.weights
        return returns


@dataclass(frozen=True, slots=True)
class Report:
    """What was found and done while reading: per asset missing days filled and the longest stale runs."""

    rows: int
    dropped_rows: int
    filled: Mapping[str, int]
    stale: Mapping[str, int]
    notes: tuple[str, ...]


@cache
def bundled(name: str) -> MarketData:
    """A data set of the package, equally weighted. ``ValidationFailed`` lists the known ones."""
    if name not in DATASETS:
        raise ValidationFailed(
            "there is no data set of that name", mend=f"known data sets: {', '.join(DATASETS)}", param="dataset"
        )
    table = pq.read_table(FOLDER / f"{name}.parquet")
    dates = table.column("date").to_numpy().astype("datetime64[D]")
    assets = tuple(item for item in table.column_names if item != "date")
    prices = np.column_stack([table.column(item).to_numpy().astype(np.float64) for item in assets])
    return MarketData(name, dates, assets, prices, np.full(len(assets), 1 / len(assets)))


def parse_market_data(raw: Any, place: str = "data") -> tuple[MarketData, Report]:
    """Market data from JSON, in any of its forms. ``ValidationFailed`` names the place and the rule."""
    if isinstance(raw, str):
        raw = {"dataset": raw}
    if isinstance(raw, list):
        return _from_columns("records", *_records(raw, place), None, place)
    if not isinstance(raw, Mapping):
        raise ValidationFailed(f"{place}: market data is expected", mend=_FORMS, param=place)
    weights = raw.get("weights")
    if "dataset" in raw:
        _known(raw, ("dataset", "start", "end", "assets", "weights"), place)
        if not isinstance(raw["dataset"], str):
            raise ValidationFailed(f"{place}.dataset: a name is expected", param=f"{place}.dataset")
        return _cut(bundled(raw["dataset"]), raw, place)
    if "csv" in raw:
        _known(raw, ("csv", "weights"), place)
        return _from_columns("csv", *_records(_csv(raw["csv"], place), place), weights, place)
    if "records" in raw:
        _known(raw, ("records", "weights"), place)
        return _from_columns("records", *_records(raw["records"], place), weights, place)
    if "prices" in raw or "returns" in raw:
        return _from_columns("prices", *_matrix(raw, place), weights, place)
    raise ValidationFailed(f"{place}: no market data is in this object", mend=_FORMS, param=place)


def to_parquet(data: MarketData) -> bytes:
    """The prices as a Parquet file; name and weights in its metadata."""
    columns = {"date": pa.array(data.dates)} | {
        asset: pa.array(data.prices[:, at]) for at, asset in enumerate(data.assets)
    }
    metadata = {"name": data.name, "weights": ",".join(repr(float(weight)) for weight in data.weights)}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue()


def from_parquet(content: bytes) -> MarketData:
    """The inverse. ``ValidationFailed`` for a file that is not ours."""
    try:
        table = pq.read_table(io.BytesIO(content))
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        weights = np.array([float(item) for item in metadata["weights"].split(",")])
        assets = tuple(item for item in table.column_names if item != "date")
        prices = np.column_stack([table.column(item).to_numpy().astype(np.float64) for item in assets])
        dates = table.column("date").to_numpy().astype("datetime64[D]")
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise ValidationFailed("the artifact holds no market data", mend="run data_preprocessing again") from error
    return MarketData(metadata["name"], dates, assets, prices, weights)


def _cut(data: MarketData, raw: Mapping[str, Any], place: str) -> tuple[MarketData, Report]:
    start, end = (_day(raw.get(name), f"{place}.{name}") for name in ("start", "end"))
    rows = np.ones(len(data.dates), dtype=bool)
    if start is not None:
        rows &= data.dates >= start
    if end is not None:
        rows &= data.dates <= end
    assets = raw.get("assets")
    columns = list(range(len(data.assets)))
    if assets is not None:
        if not isinstance(assets, list) or not assets or len(set(map(str, assets))) != len(assets):
            raise ValidationFailed(f"{place}.assets: a list of different names is expected", param=f"{place}.assets")
        for item in assets:
            if item not in data.assets:
                raise ValidationFailed(
                    f"{place}.assets: {str(item)[:40]!r} is not in {data.name}",
                    mend=f"it has: {', '.join(data.assets)}",
                    param=f"{place}.assets",
                )
        columns = [data.assets.index(item) for item in assets]
    names = tuple(data.assets[at] for at in columns)
    cut = MarketData(
        data.name, data.dates[rows], names, data.prices[rows][:, columns], _weights(raw.get("weights"), names, place)
    )
    _check_size(cut.prices, place)
    return cut, _report(cut, 0, {})


def _from_columns(
    name: str,
    dates: NDArray[np.datetime64],
    assets: tuple[str, ...],
    prices: NDArray[np.float64],
    weights: Any,
    place: str,
) -> tuple[MarketData, Report]:
    """Sorts by day, fills single gaps with the price before, drops days before every asset has one."""
    _check_size(prices, place)
    order = np.argsort(dates, kind="stable")
    dates, prices = dates[order], prices[order]
    twice = np.flatnonzero(dates[1:] == dates[:-1])
    if len(twice):
        raise ValidationFailed(
            f"{place}: the day {dates[twice[0]]} is there twice", mend="give each day once", param=place
        )
    if np.isinf(prices).any() or (prices[~np.isnan(prices)] <= 0).any():
        raise ValidationFailed(f"{place}: prices are positive numbers", mend="remove or mend the others", param=place)
    first = int(np.argmax(~np.isnan(prices).any(axis=1))) if (~np.isnan(prices).any(axis=1)).any() else len(dates)
    kept_dates, kept = dates[first:], prices[first:].copy()
    if len(kept) < LEAST_ROWS:
        raise ValidationFailed(
            f"{place}: {len(kept)} days on which every asset has a price; at least {LEAST_ROWS} are needed", param=place
        )
    missing = np.isnan(kept)
    filled = {asset: int(missing[:, at].sum()) for at, asset in enumerate(assets) if missing[:, at].any()}
    for row in np.flatnonzero(missing.any(axis=1)):
        kept[row, missing[row]] = kept[row - 1, missing[row]]
    data = MarketData(name, kept_dates, assets, kept, _weights(weights, assets, place))
    return data, _report(data, first, filled)


def _report(data: MarketData, dropped: int, filled: Mapping[str, int]) -> Report:
    same = data.prices[1:] == data.prices[:-1]
    stale = {}
    for at, asset in enumerate(data.assets):
        longest = _longest_run(same[:, at])
        if longest >= STALE_DAYS:
            stale[asset] = longest
    notes = [f"{count} missing days of {asset} took the price before" for asset, count in filled.items()]
    notes += [f"{asset} did not move on {days} days in a row" for asset, days in stale.items()]
    if dropped:
        notes.append(f"{dropped} days before every asset had a price were left out")
    return Report(len(data.dates), dropped, filled, stale, tuple(notes))


def _longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _records(raw: Any, place: str) -> tuple[NDArray[np.datetime64], tuple[str, ...], NDArray[np.float64]]:
    if not isinstance(raw, list) or not raw or not all(isinstance(row, Mapping) for row in raw):
        raise ValidationFailed(f"{place}: a list of records is expected", mend=_FORMS, param=place)
    if len(raw) > MOST_ROWS * 20:
        raise ValidationFailed(f"{place}: at most {MOST_ROWS * 20} records", param=place)
    if "date" not in raw[0]:
        raise ValidationFailed(
            f"{place}[0]: a record needs its date", mend='such as {"date": "2024-01-31", …}', param=place
        )
    return _long(raw, place) if "asset" in raw[0] else _wide(raw, place)


def _wide(
    raw: Sequence[Mapping[str, Any]], place: str
) -> tuple[NDArray[np.datetime64], tuple[str, ...], NDArray[np.float64]]:
    assets = tuple(dict.fromkeys(str(key) for row in raw for key in row if key != "date"))
    if not assets or len(assets) > MOST_ASSETS:
        raise ValidationFailed(f"{place}: 1 to {MOST_ASSETS} assets are expected", param=place)
    dates = np.array([_day(row.get("date"), f"{place}[{at}].date", needed=True) for at, row in enumerate(raw)])
    prices = np.array(
        [[_price(row.get(asset), f"{place}[{at}].{asset}") for asset in assets] for at, row in enumerate(raw)]
    )
    return dates.astype("datetime64[D]"), assets, prices


def _long(
    raw: Sequence[Mapping[str, Any]], place: str
) -> tuple[NDArray[np.datetime64], tuple[str, ...], NDArray[np.float64]]:
    cells: dict[np.datetime64, dict[str, float]] = {}
    assets: dict[str, None] = {}
    for at, row in enumerate(raw):
        day = _day(row.get("date"), f"{place}[{at}].date", needed=True)
        asset = row.get("asset")
        if day is None or not isinstance(asset, str) or not asset:
            raise ValidationFailed(f"{place}[{at}].asset: a name is expected", param=place)
        row_cells = cells.setdefault(day, {})
        if asset in row_cells:
            raise ValidationFailed(
                f"{place}: {asset[:40]} has two prices on {day}", mend="give each day once", param=place
            )
        row_cells[asset] = _price(row.get("price"), f"{place}[{at}].price")
        assets[asset] = None
    names = tuple(assets)
    if len(names) > MOST_ASSETS:
        raise ValidationFailed(f"{place}: at most {MOST_ASSETS} assets", param=place)
    dates = np.array(sorted(cells), dtype="datetime64[D]")
    prices = np.array([[cells[day].get(asset, np.nan) for asset in names] for day in sorted(cells)])
    return dates, names, prices


def _matrix(raw: Mapping[str, Any], place: str) -> tuple[NDArray[np.datetime64], tuple[str, ...], NDArray[np.float64]]:
    _known(raw, ("dates", "assets", "prices", "returns", "weights"), place)
    assets, dates, given = raw.get("assets"), raw.get("dates"), raw.get("prices", raw.get("returns"))
    if not isinstance(assets, list) or not assets or not all(isinstance(item, str) and item for item in assets):
        raise ValidationFailed(f"{place}.assets: a list of names is expected", param=f"{place}.assets")
    if len(set(assets)) != len(assets) or len(assets) > MOST_ASSETS:
        raise ValidationFailed(f"{place}.assets: up to {MOST_ASSETS} different names", param=f"{place}.assets")
    if not isinstance(dates, list) or not isinstance(given, list) or len(dates) != len(given):
        raise ValidationFailed(f"{place}: dates and prices are lists of the same length", param=place)
    if any(not isinstance(row, list) or len(row) != len(assets) for row in given):
        raise ValidationFailed(f"{place}.prices: a row of {len(assets)} numbers for each date", param=f"{place}.prices")
    days = np.array([_day(item, f"{place}.dates[{at}]", needed=True) for at, item in enumerate(dates)])
    values = np.array([[_price(item, f"{place}.prices[{at}]") for item in row] for at, row in enumerate(given)])
    if "prices" not in raw:
        if (values <= -1).any():
            raise ValidationFailed(f"{place}.returns: simple returns are above -1", param=f"{place}.returns")
        values = 100 * np.cumprod(1 + np.nan_to_num(values), axis=0)
    return days.astype("datetime64[D]"), tuple(assets), values


def _csv(text: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(text, str) or not text.strip():
        raise ValidationFailed(f"{place}.csv: CSV text with a header is expected", param=f"{place}.csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise ValidationFailed(f"{place}.csv: there are no rows under the header", param=f"{place}.csv")
    cleaned = []
    for at, row in enumerate(rows):
        if None in row or any(key is None for key in row):
            raise ValidationFailed(f"{place}.csv: line {at + 2} has more cells than the header", param=f"{place}.csv")
        cleaned.append(
            {
                key.strip().lower() if key.strip().lower() in ("date", "asset", "price") else key.strip(): value
                for key, value in row.items()
            }
        )
    return cleaned


def _weights(raw: Any, assets: tuple[str, ...], place: str) -> NDArray[np.float64]:
    if raw is None:
        return np.full(len(assets), 1 / len(assets))
    where = f"{place}.weights"
    if not isinstance(raw, Mapping) or any(name not in assets for name in raw):
        raise ValidationFailed(
            f"{where}: an object of asset: weight is expected", mend=f"assets: {', '.join(assets)[:300]}", param=where
        )
    values = np.array([_price(raw.get(asset, 0.0), where) for asset in assets])
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise ValidationFailed(f"{where}: weights are not negative and not all zero", param=where)
    normalised: NDArray[np.float64] = values / values.sum()
    return normalised


def _price(value: Any, place: str) -> float:
    """A number; missing is NaN."""
    if value is None or value == "":
        return float("nan")
    if isinstance(value, bool):
        raise ValidationFailed(f"{place}: a number is expected", param=place)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValidationFailed(f"{place[:100]}: a number is expected", param=place[:100]) from None


def _day(value: Any, place: str, *, needed: bool = False) -> np.datetime64 | None:
    if value is None and not needed:
        return None
    try:
        if not isinstance(value, str) or len(value) < 10:
            raise ValueError("too short for a date")
        return np.datetime64(value[:10], "D")
    except ValueError:
        raise ValidationFailed(f"{place}: a date such as 2024-01-31 is expected", param=place) from None


def _check_size(prices: NDArray[np.float64], place: str) -> None:
    if prices.ndim != 2 or len(prices) < LEAST_ROWS:
        raise ValidationFailed(f"{place}: {len(prices)} days; at least {LEAST_ROWS} are needed", param=place)
    if len(prices) > MOST_ROWS:
        raise ValidationFailed(f"{place}: at most {MOST_ROWS} days", param=place)


def _known(raw: Mapping[str, Any], names: Sequence[str], place: str) -> None:
    for key in raw:
        if key not in names:
            raise ValidationFailed(
                f"{place}.{str(key)[:60]}: no such field", mend=f"the fields here are: {', '.join(names)}", param=place
            )
