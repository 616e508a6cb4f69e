"""The audit of the journals: calls of dead processes that are not in the ledger, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.store.call_entries import mark_of
from gateway.store.engine import Database
from gateway.store.journal_folder import orphan_names
from gateway.store.journal_recovery import calls_left


def journal_problems(folder: Path, database: Database, now: int) -> Iterator[str]:
    """A line for each journal in ``folder`` that no living process owns and that is not in the ledger as a whole.
    Nothing is changed; whoever starts next brings it in."""
    for name in orphan_names(folder):
        with database.read() as connection:
            mark = mark_of(connection, name)
        try:
            ended, hanging = calls_left(folder, name, mark, now)
        except FileNotFoundError:
            continue  # somebody is bringing it in
        if ended or hanging:
            yield (
                f"journal {name}: its process is gone, and {len(ended) + len(hanging)} of its calls are not in the "
                f"ledger, {len(hanging)} of which nobody ended; start the gateway or the orchestrator where "
                f"GATEWAY_DATA_DIR is {folder.parent}, which brings them in"
            )
