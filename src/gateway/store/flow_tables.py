"""Tables of what happens to runs beside the work of their steps. Times in microseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table, Text

from gateway.store.metadata import metadata

#: What each step of a run waits for, of runs from before schema 0022: it stands in ``step.spec``. The table stays for
#: processes of the version before, which write it.
edge = Table(
    "edge",
    metadata,
    Column("run_id", Text, ForeignKey("run.run_id"), primary_key=True),
    Column("step_id", Text, primary_key=True),
    Column("depends_on", Text, primary_key=True),
)

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

#: How many steps with one key may run at once, and how many may begin in a time; see ``engine.limits``.
step_limit = Table(
    "step_limit",
    metadata,
    Column("task_id", Text, ForeignKey("step.task_id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("concurrency", Integer),
    Column("rate", Integer),
    Column("per", BigInteger, nullable=False),  # microseconds
    Index("step_limit_by_key", "key"),
)

#: The row whose lock orders those who hand out steps with a key, and when the next may begin by its rate.
limiter = Table(
    "limiter",
    metadata,
    Column("key", Text, primary_key=True),
    Column("next_at", BigInteger, nullable=False),
)

#: Results that equal steps may take, by the hash of what made them.
step_result = Table(
    "step_result",
    metadata,
    Column("key", Text, primary_key=True),
    Column("output", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

schedule = Table(
    "schedule",
    metadata,
    Column("schedule_id", Text, primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("owner", Text, nullable=False, index=True),
    Column("caller", Text, nullable=False),  # as it was when the schedule was made, JSON
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("catch_up", Text, nullable=False),  # none one all
    Column("overlap", Text, nullable=False),  # allow skip
    Column("run", Text, nullable=False),  # input, priority and the like, JSON
    Column("active", Boolean, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("last_at", BigInteger),
    Column("last_run_id", Text),
    Column("note", Text, nullable=False),  # why the last time brought no run
    Column("created_at", BigInteger, nullable=False),
    Index("schedule_by_due", "active", "next_at"),
)

#: Steps that failed for good after all their attempts, until somebody has them done again or lets them be.
dead_letter = Table(
    "dead_letter",
    metadata,
    Column("task_id", Text, ForeignKey("step.task_id"), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("closed_by", Text),
    Column("closed_as", Text),  # dismissed, or the run that does it again
    Index("dead_letter_by_owner", "owner", "closed_at", "at"),
)

#: Calls of steps about to be made; one without its answer in ``step_call`` may have been paid for nothing.
step_call_begun = Table(
    "step_call_begun",
    metadata,
    Column("task_id", Text, ForeignKey("step.task_id"), primary_key=True),
    Column("token", Integer, primary_key=True),
    Column("request", Text, primary_key=True),  # as in ``step_call``
    Column("number", Integer, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("followed_by", Text),  # retry fail ask
)

#: What steps were answered by models, as each answer came; see ``tasks.step_calls``.
step_call = Table(
    "step_call",
    metadata,
    Column("task_id", Text, ForeignKey("step.task_id"), primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("request", Text, primary_key=True),  # SHA-256 of what was asked
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),  # llm ml
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("version", Integer),
    Column("notes", Text, nullable=False),
    Column("entry_id", Text),
    Column("answer", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
