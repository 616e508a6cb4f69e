"""The one schema. SQLite and PostgreSQL hold the same tables; times are UTC microseconds, money is
units of 10⁻¹⁰ USD, both 64-bit integers; JSON is text written by msgspec so that hashes are stable.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from gateway.store.flow_tables import (
    dead_letter,
    edge,
    limiter,
    schedule,
    signal,
    step_call,
    step_call_begun,
    step_limit,
    step_result,
)
from gateway.store.kept_tables import batch, batch_line, file, file_part, response
from gateway.store.ledger_tables import balance, entry, posting
from gateway.store.metadata import metadata, only
from gateway.store.prompt_tables import prompt, prompt_label_move, prompt_result
from gateway.store.provider_batch_tables import batch_ask, batch_part
from gateway.store.usage_tables import saving, spend_anomaly, usage_day, usage_hour, usage_saving, usage_series

__all__ = [
    "api_key", "artifact", "artifact_use", "audit", "balance", "batch", "batch_ask", "batch_line", "batch_part",
    "budget", "budget_lease", "counter", "dead_letter", "definition", "edge", "entry", "event", "file", "file_part",
    "idempotency", "journal_mark", "limiter", "metadata", "model_alias", "model_version", "posting", "prompt",
    "prompt_label_move", "prompt_result", "rate_limit", "response", "run", "saving", "schedule", "signal",
    "spend_anomaly", "step", "step_call", "step_call_begun", "step_limit", "step_result", "usage_day", "usage_hour",
    "usage_saving", "usage_series", "webhook_delivery", "webhook_subscription",
]  # fmt: skip
# -- engine ---------------------------------------------------------------------------------------

definition = Table(
    "definition",
    metadata,
    Column("hash", Text, primary_key=True),  # SHA-256 of the canonical body: a version never changes
    Column("workflow_id", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("source", Text, nullable=False),  # config | python | api
    Column("owner", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # task (a run of one step) | workflow
    Column("workflow_id", Text, nullable=False),
    Column("definition_hash", Text, ForeignKey("definition.hash")),
    Column("status", Text, nullable=False),  # pending running paused completed failed cancelled
    Column("input", Text, nullable=False),
    Column("output", Text),
    Column("error", Text),
    Column("progress", Float, nullable=False, default=0.0),
    Column("priority", Integer, nullable=False, default=5),
    Column("owner", Text, nullable=False),  # principal
    Column("caller", Text, nullable=False),  # the Caller as it was at submission, JSON
    Column("request_id", Text, nullable=False),
    Column("metadata", Text, nullable=False, default="{}"),
    Column("webhook_url", Text),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("deadline", BigInteger),
    Column("config_epoch", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("output_mapping", Text),  # how the result is made, JSON
    Column("not_before", BigInteger, nullable=False, server_default="0"),
    Column("origin", Text),  # the run, schedule or step it comes from, JSON
    Column("parent_run", Text),  # of a run that is a step of another
    Column("parent_task", Text),
    Column("pins", Text),  # the versions of the workflows that its steps run, JSON
    Column("bounds", Text),  # budgets of the run and the step that it is within, JSON
    Index("run_by_parent", "parent_run", **only("parent_run IS NOT NULL")),
    Index("run_by_parent_task", "parent_task", unique=True, **only("parent_task IS NOT NULL")),
    Index("run_by_owner", "owner", "run_id"),
    Index("run_by_time", "created_at", "run_id"),
    Index("run_live", "status", "deadline", **only("status IN ('pending', 'running', 'paused')")),
    Index("run_ended_badly", "status", "run_id", **only("status IN ('failed', 'cancelled')")),
)

step = Table(
    "step",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("run.run_id"), nullable=False),
    Column("step_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("task_type", Text, nullable=False),
    Column("spec", Text, nullable=False),  # StepDefinition, JSON
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False, default=5),
    Column("state", Text, nullable=False),  # waiting ready held queued running parked gathering + ended ones
    Column("waiting_on", Integer, nullable=False, default=0),  # unfinished dependencies
    Column("token", BigInteger, nullable=False, default=0),  # the fence: grows with every hand-out
    Column("lease_until", BigInteger),
    Column("not_before", BigInteger, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lost", Integer, nullable=False, default=0),  # leases that ran out
    Column("worker", Text),
    Column("input", Text),  # resolved when first started
    Column("output", Text),
    Column("published", Text),
    Column("error", Text),
    Column("progress", Float, nullable=False, default=0.0),
    Column("progress_note", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("limited", Boolean, nullable=False, server_default=false()),  # it has rows in step_limit
    Column("role", Text, nullable=False, server_default="step"),  # step | item | undo
    Column("parent", Text),  # of an item: the step's task id
    Column("item_index", Integer),
    Column("item", Text),  # the value it is done for, JSON
    Column("gated", Boolean, nullable=False, server_default=false()),  # more is asked than that it waits for nothing
    Column("wake_at", BigInteger),
    Column("decision", Text),  # of an approval, JSON
    Column("record", Text),  # how the result came to be, JSON
    UniqueConstraint("run_id", "step_id"),
    # Every change of a step's state is written into each index that names it, so they have few rows.
    Index("step_shown", "run_id", "parent", **only("parent IS NULL")),
    Index("step_by_parent", "parent", "item_index", **only("parent IS NOT NULL")),
    Index("step_item_waiting", "parent", "state", "item_index", **only("parent IS NOT NULL AND state = 'waiting'")),
    Index("step_ready", "run_id", "not_before", **only("state = 'ready'")),
    Index("step_leased", "state", "lease_until", **only("state IN ('queued', 'running')")),
    Index("step_resting", "state", "wake_at", **only("state IN ('parked', 'gathering')")),
    Index("step_ended_badly", "state", "parent", **only("state IN ('failed', 'cancelled', 'skipped')")),
)

#: Named counters whose row lock orders their users' commits (event ids, audit sequence).
counter = Table(
    "counter", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False)
)

event = Table(
    "event",
    metadata,
    # From counter 'event': commit order, no gaps. (SQLite keeps rows by a key that is INTEGER, without an index.)
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("run_id", Text),
    Column("task_id", Text),  # of that run: no index of its own
    Column("owner", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("event_by_run", "run_id", "id", **only("run_id IS NOT NULL")),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("delivery_id", Text, primary_key=True),  # the same on every try
    Column("url", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("task_id", Text),
    Column("run_id", Text),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),  # pending delivered dead
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("last_error", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    Column("subscription_id", Text),  # none: the address that a task, a run or the operator named
    Index("webhook_by_due", "state", "not_before"),
    Index("webhook_by_run", "run_id"),
)

webhook_subscription = Table(
    "webhook_subscription",
    metadata,
    Column("subscription_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),  # JSON list; empty: all
    Column("secret", Text, nullable=False),
    Column("active", Boolean, nullable=False, default=True),
    Column("created_at", BigInteger, nullable=False),
    Column("old_secret", Text),  # signs too until old_secret_until: the overlap of a rotation
    Column("old_secret_until", BigInteger),
    Column("disabled_at", BigInteger),  # it is told nothing until somebody enables it again
    Column("disabled_reason", Text),
)

#: Large values and model files, by content; beyond 64 KB ``content`` may be empty and the bytes elsewhere
#: (``artifact_bytes.py``).
artifact = Table(
    "artifact",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),  # about when a use was last noted; none: from before uses were
)

#: Who names an artifact: a run, a task, a kept result (``artifact_uses.py``).
artifact_use = Table(
    "artifact_use",
    metadata,
    Column("sha256", Text, ForeignKey("artifact.sha256"), primary_key=True),
    Column("holder", Text, primary_key=True),
    Index("artifact_use_by_holder", "holder"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_hash", Text, nullable=False),
    Column("state", Text, nullable=False),  # running done
    Column("cause", Text, nullable=False, server_default=""),  # of whatever the first request charges
    Column("token", Integer, nullable=False, server_default="1"),  # the fence: grows with every taking over
    Column("running_until", BigInteger, nullable=False, server_default="0"),  # kept alive by who is answering
    Column("status", Integer),
    Column("headers", Text),
    Column("answer", Text),
    Column("created_at", BigInteger, nullable=False, index=True),
)

# -- ledger ---------------------------------------------------------------------------------------

budget = Table(
    "budget",
    metadata,
    Column("budget_id", Text, primary_key=True),
    Column("scope", Text, nullable=False),  # key user team project model provider workflow run step gateway
    Column("subject", Text, nullable=False),  # the key_id, principal, …; '*' for the gateway
    Column("window", Text, nullable=False),  # see ledger/windows.py
    Column("limit_units", BigInteger, nullable=False),
    Column("window_start", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False, default=0),
    Column("reserved", BigInteger, nullable=False, default=0),
    Column("alert_shares", Text, nullable=False, default="[]"),
    Column("alerted", Text, nullable=False, default="[]"),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("active", Boolean, nullable=False, default=True),
    Column("time_zone", Text, nullable=False, server_default=""),  # where its day begins; UTC if empty
    Column("slots", Text, nullable=False, server_default="[]"),  # of a rolling window: [[since, units], …]
    Column("at_cap", Text, nullable=False, server_default="refuse"),  # refuse degrade queue approve
    Column("degrade_to", Text, nullable=False, server_default="[]"),  # JSON list of models
    Column("parent", Text, index=True),  # the budget for each run that this is one run's of; of a step's, its run
    Column("extra", BigInteger, nullable=False, server_default="0"),  # approved for this window
    Column("asked", BigInteger, nullable=False, server_default="0"),  # units waited for; -1: denied
    CheckConstraint("limit_units >= 0", name="budget_limit_not_negative"),
    Index("budget_by_subject", "scope", "subject"),
    Index("budget_in_force", "scope", "parent", sqlite_where=text("active = 1"), postgresql_where=text("active")),
)

#: What a process has set aside of a budget for the calls it is yet to make; counted in ``reserved``.
budget_lease = Table(
    "budget_lease",
    metadata,
    Column("holder", Text, primary_key=True),  # the journal of the process, see store/journal_file.py
    Column("budget_id", Text, ForeignKey("budget.budget_id"), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),  # below 0: since when its holder is thought to be gone
    CheckConstraint("amount >= 0", name="budget_lease_not_negative"),
)

#: How far a journal of calls is in the ledger: the segment, and how many bytes of it.
journal_mark = Table(
    "journal_mark",
    metadata,
    Column("journal", Text, primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("applied", BigInteger, nullable=False),
)

# -- security -------------------------------------------------------------------------------------

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),  # SHA-256 of the whole key
    Column("hint", Text, nullable=False),  # last four characters, for people
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("team", Text),
    Column("project", Text),
    Column("models", Text, nullable=False, default='["*"]'),  # JSON list of name patterns
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("max_concurrent", Integer),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

#: Limits of users and teams; those of keys stand in ``api_key``.
rate_limit = Table(
    "rate_limit",
    metadata,
    Column("name", Text, primary_key=True),  # user:PRINCIPAL or team:NAME
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("max_concurrent", Integer),
    Column("set_by", Text, nullable=False),
    Column("set_at", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # from counter 'audit'
    Column("at", BigInteger, nullable=False, index=True),
    Column("actor", Text, nullable=False, index=True),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

# -- registry -------------------------------------------------------------------------------------

model_version = Table(
    "model_version",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("family", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("artifact", Text, ForeignKey("artifact.sha256"), nullable=False),
    Column("schema", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("card", Text, nullable=False),
    Column("data_hash", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("libraries", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

model_alias = Table(
    "model_alias",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),  # champion, challenger, …
    Column("version", Integer, nullable=False),
    Column("previous", Integer),  # what rollback goes back to
    Column("updated_by", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
