"""Rows of the tables ``run`` and ``step`` as a transaction will leave them."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection

from gateway.engine.rows import Doorbell, RunRow, StepRow
from gateway.store import step_statements as statements
from gateway.store.row_shapes import OF_STEP, run_from, step_from


class KeptStep:
    """A row of the table ``step`` as it will be, by columns; ``state`` and ``token`` are as the database has them."""

    __slots__ = ("_row", "_size", "dirty", "mine", "new", "own", "state", "token", "values", "version")

    def __init__(self, values: dict[str, Any], *, own: bool = False, new: bool = False) -> None:
        """``new``: the database does not have it yet."""
        #: Which transaction wrote it, as PostgreSQL numbers them; empty where that was not asked.
        self.version: str = values.pop("version", "")
        self.values = values
        self.state: str = "" if new else values["state"]
        self.token: int = values["token"]
        self.dirty = self.new = new
        #: It was written by this transaction.
        self.mine = False
        #: Nobody else may hand it out.
        self.own = own
        self._row: StepRow | None = None
        self._size: int | None = None

    def set(self, **columns: Any) -> None:
        """As ``UPDATE``; of those columns that ``statements.WRITTEN_STEP`` names."""
        self.values.update(columns)
        self.dirty = True
        self._size = None
        if self._row is not None:
            coded = any(name in OF_STEP for name in columns)
            self._row = None if coded else msgspec.structs.replace(self._row, **columns)
        if columns.get("state") == "ready":
            self.own = True

    def row(self, connection: Connection) -> StepRow:
        """As the engine sees it."""
        if self._row is None:
            self._row = step_from(dict(self.values), connection)
        return self._row

    def written_values(self) -> list[Any]:
        """What changes of it, as the database is to have it."""
        return [self.values[name] for name in statements.WRITTEN_STEP]

    def doorbell(self) -> Doorbell:
        """What is rung for it."""
        values = self.values
        return Doorbell(values["task_id"], values["token"], values["queue"], values["priority"], values["run_id"])

    def written(self) -> None:
        """The database has it as it is here."""
        self.state, self.token, self.dirty, self.new = self.values["state"], self.values["token"], False, False
        self.mine = True

    def size(self) -> int:
        """Characters of JSON that it holds."""
        if self._size is None:
            self._size = sum([len(text) for name in OF_STEP if (text := self.values[name]) is not None])
        return self._size

    def rest(self, version: str | None) -> None:
        """The transaction is over, and the next may begin with it; ``version`` is of those that it wrote. What handlers
        were given of it they may have changed."""
        if self.mine:
            self.version = version or ""
        self.mine = self.own = False
        self._row = None


class KeptRun:
    """A row of the table ``run`` as it will be, by columns and as the engine sees it."""

    __slots__ = ("dirty", "row", "values")

    def __init__(self, values: dict[str, Any], connection: Connection) -> None:
        self.values = {name: values[name] for name in statements.WRITTEN_RUN}
        self.row: RunRow = run_from(values, connection)
        self.dirty = False

    def set(self, columns: dict[str, Any], **decoded: Any) -> None:
        """As ``UPDATE``. ``decoded``: columns that the engine sees otherwise than the table has them."""
        self.values |= columns
        self.row = msgspec.structs.replace(self.row, **columns | decoded)
        self.dirty = True
