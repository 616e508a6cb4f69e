"""The tables of the ledger itself: entries, their postings, and what the postings sum to.

Every index is paid for with each entry: there is one for each question that is asked of single entries, and what
few entries have is indexed for those alone. (Sums have tables of their own: ``usage_tables``.)
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, text

from gateway.store.metadata import metadata

entry = Table(
    "entry",
    metadata,
    Column("entry_id", Text, primary_key=True),
    Column("cause", Text, nullable=False, unique=True),
    Column("hold_id", Text),
    Column("kind", Text, nullable=False),  # llm | ml | correction | manual
    Column("principal", Text, nullable=False),
    Column("key_id", Text),
    Column("team", Text),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("upstream_model", Text, nullable=False, default=""),
    Column("input_tokens", BigInteger, nullable=False, default=0),
    Column("output_tokens", BigInteger, nullable=False, default=0),
    Column("cached_tokens", BigInteger, nullable=False, default=0),
    Column("cache_write_tokens", BigInteger, nullable=False, default=0),
    Column("reasoning_tokens", BigInteger, nullable=False, default=0),
    Column("inference_micros", BigInteger, nullable=False, default=0),
    Column("rows", BigInteger, nullable=False, default=0),
    Column("cost", BigInteger, nullable=False),
    Column("basis", Text, nullable=False),  # provider counted estimated none
    Column("price_card", Text, nullable=False),  # names the card that priced it
    Column("outcome", Text, nullable=False),  # completed failed cancelled stream_incomplete …
    Column("config_epoch", Text, nullable=False, default=""),
    Column("request_id", Text, nullable=False),
    Column("run_id", Text),
    Column("task_id", Text),
    Column("flags", Text, nullable=False, server_default=""),  # what was odd about the usage, with commas
    Column("usage_detail", Text, nullable=False, server_default=""),  # UsageDetail, JSON; nearly always empty
    Column("workflow_id", Text),
    Column("tags", Text, nullable=False, server_default=""),  # names with commas, see models/tags.py
    Column("at", BigInteger, nullable=False, index=True),
    Index("entry_by_principal", "principal", "at"),
    Index("entry_by_request", "request_id"),
    Index(
        "entry_correction",
        "hold_id",
        sqlite_where=text("kind = 'correction'"),
        postgresql_where=text("kind = 'correction'"),
    ),
    *(
        Index(
            f"ix_entry_{name}",
            name,
            sqlite_where=text(f"{name} IS NOT NULL"),
            postgresql_where=text(f"{name} IS NOT NULL"),
        )
        for name in ("run_id", "task_id")
    ),
)

#: No foreign key: written with its entry, and missed by ``ledger_check`` where one is without the other.
posting = Table(
    "posting",
    metadata,
    Column("entry_id", Text, primary_key=True),
    Column("account", Text, primary_key=True),  # caller:… (debit) | provider:… (credit)
    Column("amount", BigInteger, nullable=False),  # debits positive, credits negative: Σ = 0 per entry
    sqlite_with_rowid=False,
)

balance = Table(
    "balance",
    metadata,
    Column("account", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
)
