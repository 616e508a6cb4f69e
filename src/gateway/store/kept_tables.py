"""Tables of what is kept for callers: responses, files, batches. ``tenant`` is the team, else the principal."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from gateway.store.metadata import metadata

response = Table(
    "response",
    metadata,
    Column("response_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("previous_id", Text),  # no foreign key: an earlier response may be deleted or expire
    Column("input", Text, nullable=False),  # its own input items, JSON
    Column("body", Text, nullable=False),  # the response as it was answered, JSON
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

file = Table(
    "file",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("state", Text, nullable=False),  # coming ready
    Column("purpose", Text, nullable=False),  # batch batch_output
    Column("filename", Text, nullable=False),
    Column("size", BigInteger, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Index("file_by_tenant", "tenant", "file_id"),
)

#: A file's bytes in parts, so that none is ever whole in memory; they go with their file.
file_part = Table(
    "file_part",
    metadata,
    Column("file_id", Text, ForeignKey("file.file_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

batch = Table(
    "batch",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("task_id", Text, nullable=False),  # the task that does its work
    Column("status", Text, nullable=False),  # see docs/state_machines.md
    Column("endpoint", Text, nullable=False),
    Column("input_file_id", Text, nullable=False),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("output_seconds", BigInteger),  # how long its files are kept, where the caller said so
    Column("errors", Text, nullable=False, default="[]"),
    Column("metadata", Text, nullable=False, default="{}"),
    Column("total", Integer, nullable=False, default=0),
    Column("completed", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("times", Text, nullable=False, default="{}"),  # when each status began, JSON
    Column("handling", Text, nullable=False, default="{}"),  # which way its lines went, JSON
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("batch_by_tenant", "tenant", "batch_id"),
    Index("batch_by_status", "status", "expires_at"),
)

#: What the lines of a running batch gave; written into its files, and deleted, at its end.
batch_line = Table(
    "batch_line",
    metadata,
    Column("batch_id", Text, ForeignKey("batch.batch_id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("failed", Boolean, nullable=False),
    Column("content", Text, nullable=False),  # a line of the output or the error file
)
