"""Tables of prompt templates: their versions, where labels point, and what became of calls."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, Table, Text

from gateway.store.metadata import metadata

prompt = Table(
    "prompt",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("template", Text, nullable=False),
    Column("variables", Text, nullable=False),  # JSON list of names
    Column("hash", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("messages", Text, nullable=False, server_default="[]"),  # a chat's turns, JSON; empty for one text
    Column("inputs", Text, nullable=False, server_default="[]"),  # what each variable may be, JSON
    Column("defaults", Text, nullable=False, server_default="{}"),  # model, parameters, response_format, JSON
    Column("comment", Text, nullable=False, server_default=""),
)

#: Every move of every label; the newest says where it points.
prompt_label_move = Table(
    "prompt_label_move",
    metadata,
    Column("name", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("targets", Text, nullable=False),  # versions and weights, JSON; none: taken away
    Column("previous", BigInteger),  # the revision that a rollback goes back to
    Column("action", Text, nullable=False),  # set rollback remove
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

#: What became of calls, summed by day and class of latency; see registry/prompt_results.py.
prompt_result = Table(
    "prompt_result",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("label", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("micros", BigInteger, nullable=False),
    Column("scores", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
)
