"""Counts of what became of prompts' calls, in SQL."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import select

from gateway.registry.prompt_results import Counts, ResultKey
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import prompt_result


class SqlPromptResultStore:
    """See ``registry.prompt_results.ResultStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, counted: Sequence[tuple[ResultKey, Counts]]) -> None:
        keys, figures = ResultKey.__struct_fields__, Counts.__struct_fields__
        # In one order, so that two processes never wait for each other's rows in a ring.
        ordered = sorted(counted, key=lambda item: msgspec.structs.astuple(item[0]))
        with self._database.begin() as connection:
            for key, counts in ordered:
                statement = insert_into(connection, prompt_result).values(
                    **msgspec.structs.asdict(key), **msgspec.structs.asdict(counts)
                )
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=[prompt_result.c[name] for name in keys],
                        set_={name: prompt_result.c[name] + statement.excluded[name] for name in figures},
                    )
                )

    def read(self, name: str, since_day: int) -> list[tuple[ResultKey, Counts]]:
        query = select(prompt_result).where(prompt_result.c.name == name, prompt_result.c.day >= since_day)
        keys, figures = ResultKey.__struct_fields__, Counts.__struct_fields__
        with self._database.read() as connection:
            return [
                (
                    ResultKey(**{field: row._mapping[field] for field in keys}),
                    Counts(**{field: row._mapping[field] for field in figures}),
                )
                for row in connection.execute(query)
            ]
