"""Tables of requests that are handed to providers' batch APIs, and of the batches that they went in."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, UniqueConstraint

from gateway.store.metadata import metadata

#: A batch at a provider. Its state is written before what it names is done.
batch_part = Table(
    "batch_part",
    metadata,
    Column("part_id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("state", Text, nullable=False),  # new submitting sent ended
    Column("requests", Integer, nullable=False),
    Column("upstream_id", Text),
    Column("upstream_status", Text, nullable=False),
    Column("cancel_asked", Boolean, nullable=False),
    Column("problem", Text, nullable=False),
    Column("next_look", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),  # the courier that works on it, until its lease ends
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("submitted_at", BigInteger),
    Column("ended_at", BigInteger),
    Index("batch_part_by_look", "state", "next_look"),
)

#: A request that goes, or went, in such a batch; it stays until its owner has ended.
batch_ask = Table(
    "batch_ask",
    metadata,
    Column("ask_id", Text, primary_key=True),  # its name at the provider
    Column("owner", Text, nullable=False),  # a batch of ours, or a task
    Column("line", Integer, nullable=False),
    Column("gathering", Text, nullable=False),  # which requests may go in one batch with it
    Column("part_id", Text, index=True),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("state", Text, nullable=False),  # offered ready sent done
    Column("unwanted", Boolean, nullable=False),
    Column("hold_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),  # its worst case, which is set aside …
    Column("budgets", Text, nullable=False),  # … in these budgets until it is done, JSON
    Column("terms", Text, nullable=False),  # whom it is for and what it costs, JSON
    Column("size", Integer, nullable=False),
    Column("body", Text, nullable=False),  # what the provider is asked, JSON; empty once it is answered
    Column("answer", Text),  # as the provider wrote it, JSON
    Column("error", Text),  # code, message, status of one that has no answer, JSON
    Column("cost", BigInteger, nullable=False),
    Column("full_cost", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    UniqueConstraint("owner", "line", name="batch_ask_once"),
    Index("batch_ask_by_state", "state", "part_id"),
)
