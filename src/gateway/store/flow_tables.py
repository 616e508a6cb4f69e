"""Tables of what happens to runs beside the work: words from outside. Times in microseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from gateway.store.metadata import metadata

#: Signals sent to a run; one that no step waits for yet is kept until one does.
signal = Table(
    "signal",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("run_id", Text, ForeignKey("run.run_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("taken_by", Text),  # the step's task id
    Index("signal_by_run", "run_id", "name", "taken_by"),
)
