"""Makes the data files that ship with the package, from data sets of development packages.

Run it with the development environment: ``python tools/bundle_data.py``. The figures of the Federal
Reserve below are typed in from its release G.5A (annual averages of daily noon rates).
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from pathlib import Path

import arch.data.core_cpi
import arch.data.default
import arch.data.frenchdata
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from skfolio.datasets import load_sp500_dataset

FOLDER = Path(__file__).resolve().parents[1] / "src" / "gateway" / "risk" / "data"

#: USD for one EUR, average of each year.
EUR_USD = {
    2002: 0.9454, 2003: 1.1321, 2004: 1.2438, 2005: 1.2449, 2006: 1.2563, 2007: 1.3711, 2008: 1.4726,
    2009: 1.3935, 2010: 1.3261, 2011: 1.3931, 2012: 1.2859, 2013: 1.3281, 2014: 1.3297, 2015: 1.1096,
    2016: 1.1072, 2017: 1.1301, 2018: 1.1817, 2019: 1.1194, 2020: 1.1410, 2021: 1.1830, 2022: 1.0534,
}  # fmt: skip
FIRST_MONTH, LAST_MONTH = "1990-01", "2018-11"


def stocks() -> pa.Table:
    """Adjusted daily closes of twenty S&P 500 stocks."""
    frame = load_sp500_dataset()
    columns = {"date": pa.array(frame.index.to_numpy().astype("datetime64[D]"))}
    for name in frame.columns:
        columns[str(name)] = pa.array(frame[name].to_numpy(dtype=np.float32).round(4))
    return pa.table(columns)


def economy() -> pa.Table:
    """Monthly: total return of the US market, one-month bill rate, long corporate yields, core prices."""
    months = np.arange(np.datetime64(FIRST_MONTH, "M"), np.datetime64(LAST_MONTH, "M") + 1)
    french = arch.data.frenchdata.load()
    stamps = french.index.astype("int64").to_numpy()
    own = np.array([f"{stamp // 100:04d}-{stamp % 100:02d}" for stamp in stamps], dtype="datetime64[M]")
    market = dict(zip(own, (french["Mkt-RF"] + french["RF"]).to_numpy() / 100, strict=True))
    bill = dict(zip(own, french["RF"].to_numpy() * 12 / 100, strict=True))
    yields = arch.data.default.load()
    stamps = yields.index.to_numpy().astype("datetime64[M]")
    long = dict(zip(stamps, yields["AAA"].to_numpy() / 100, strict=True))
    low = dict(zip(stamps, yields["BAA"].to_numpy() / 100, strict=True))
    prices = arch.data.core_cpi.load()
    core = dict(zip(prices.index.to_numpy().astype("datetime64[M]"), prices["CPILFESL"].to_numpy(), strict=True))
    series = {
        "equity_return": market,
        "short_rate": bill,
        "aaa_yield": long,
        "baa_yield": low,
        "core_cpi": core,
    }
    columns = {"month": pa.array([str(month) for month in months])}
    for name, values in series.items():
        columns[name] = pa.array([round(float(values[month]), 6) for month in months])
    return pa.table(columns)


def currencies() -> pa.Table:
    """Annual averages."""
    return pa.table({"year": pa.array(list(EUR_USD)), "eur_usd": pa.array(list(EUR_USD.values()))})


def main() -> None:
    """Writes the files and prints their hashes, for SOURCE.md."""
    warnings.filterwarnings("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, table in (("sp500-20", stocks()), ("economy", economy()), ("eur-usd", currencies())):
        path = FOLDER / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=19)
        content = path.read_bytes()
        sys.stdout.write(
            f"{path.name}  {table.num_rows} rows  {len(content)} bytes  {hashlib.sha256(content).hexdigest()}\n"
        )


if __name__ == "__main__":
    main()
