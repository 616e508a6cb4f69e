"""Sums of the ledger by time, kept with its entries: who used what (a series), and how much in an hour and a day.

A series is one combination of everything that usage may be asked by; its number is made of them
(``usage_rollups.series_id``), so that whoever writes needs to look nothing up. Rows stand by series and then
by time, which is the order in which they are summed.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Table, Text

from gateway.ledger.usage_ask import DIMENSIONS, SUMS
from gateway.store.metadata import metadata

usage_series = Table(
    "usage_series",
    metadata,
    Column("series_id", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in DIMENSIONS),
)

usage_hour = Table(
    "usage_hour",
    metadata,
    Column("series_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # since 1970, UTC
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    sqlite_with_rowid=False,
)

usage_day = Table(
    "usage_day",
    metadata,
    Column("series_id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", BigInteger, primary_key=True, autoincrement=False),  # since 1970, UTC
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    sqlite_with_rowid=False,
)

#: What a call cost less than it would have, and by what; never changed, as the entry itself.
saving = Table(
    "saving",
    metadata,
    Column("entry_id", Text, ForeignKey("entry.entry_id"), primary_key=True),
    Column("method", Text, primary_key=True),  # see ledger/savings.py
    Column("amount", BigInteger, nullable=False),  # below 0 where it cost more
    Column("tokens", BigInteger, nullable=False),
)

usage_saving = Table(
    "usage_saving",
    metadata,
    Column("series_id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("method", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Hours whose spending was told to be far above the usual, so that each is told once.
spend_anomaly = Table(
    "spend_anomaly",
    metadata,
    Column("scope", Text, primary_key=True),  # gateway team key
    Column("subject", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # since 1970, UTC
    Column("spent", BigInteger, nullable=False),
    Column("usual", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)
