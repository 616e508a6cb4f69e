"""What all tables of the one schema are registered in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, text

metadata = MetaData()


def only(condition: str) -> dict[str, Any]:
    """Of an index: it has such rows only. Queries say the same by ``indexed_states``."""
    return {f"{dialect}_where": text(condition) for dialect in ("sqlite", "postgresql")}
