"""The tables of what is learned of deployments: how their calls ended, and what callers say of answers."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Float, ForeignKey, Index, Table, Text

from gateway.store.tables import metadata

deployment_outcome = Table(
    "deployment_outcome",
    metadata,
    Column("model", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # its beginning
    Column("answered", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("micros", BigInteger, nullable=False),  # to the first token, summed over the measured
    Column("measured", BigInteger, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("entry_id", Text, ForeignKey("entry.entry_id"), primary_key=True),  # the last word on a call counts
    Column("model", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("score", Float, nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    CheckConstraint("score >= 0 AND score <= 1", name="feedback_score_is_a_share"),
    Index("feedback_by_model", "model", "at"),
)
