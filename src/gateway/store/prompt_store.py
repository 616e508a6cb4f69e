"""Prompt templates in SQL."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, func, insert, select

from gateway.registry.prompts import PromptVersion
from gateway.store.codec import from_json, to_json
from gateway.store.engine import Database, next_value
from gateway.store.tables import prompt


class SqlPromptStore:
    """See ``registry.prompts.PromptStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: PromptVersion) -> PromptVersion:
        with self._database.begin() as connection:
            added = msgspec.structs.replace(new, version=next_value(connection, f"prompt:{new.name}"))
            values = msgspec.structs.asdict(added)
            connection.execute(insert(prompt).values({**values, "variables": to_json(added.variables)}))
        return added

    def get(self, name: str, version: int | None) -> PromptVersion | None:
        query = select(prompt).where(prompt.c.name == name).order_by(prompt.c.version.desc()).limit(1)
        if version is not None:
            query = query.where(prompt.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _prompt_of(row)

    def newest(self) -> list[PromptVersion]:
        newest = select(prompt.c.name, func.max(prompt.c.version).label("version")).group_by(prompt.c.name).subquery()
        query = (
            select(prompt)
            .join(newest, (prompt.c.name == newest.c.name) & (prompt.c.version == newest.c.version))
            .order_by(prompt.c.name)
        )
        with self._database.read() as connection:
            return [_prompt_of(row) for row in connection.execute(query)]

    def versions(self, name: str) -> list[PromptVersion]:
        query = select(prompt).where(prompt.c.name == name).order_by(prompt.c.version.desc())
        with self._database.read() as connection:
            return [_prompt_of(row) for row in connection.execute(query)]


def _prompt_of(row: Row[Any]) -> PromptVersion:
    return PromptVersion(**{**row._mapping, "variables": tuple(from_json(row.variables))})
