"""Prompt templates and the moves of their labels in SQL."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, insert, select

from gateway.events.event import EventDraft
from gateway.registry.prompt_labels import LabelMove, Target
from gateway.registry.prompt_variables import Variable
from gateway.registry.prompt_version import Defaults, PromptVersion, Turn
from gateway.store.codec import from_json, to_json
from gateway.store.engine import Database, next_value
from gateway.store.event_store import insert_events
from gateway.store.tables import prompt, prompt_label_move


class SqlPromptStore:
    """See ``registry.prompts.PromptStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: PromptVersion) -> PromptVersion:
        with self._database.begin() as connection:
            added = msgspec.structs.replace(new, version=next_value(connection, f"prompt:{new.name}"))
            connection.execute(insert(prompt).values(_values(added)))
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

    # -- labels -----------------------------------------------------------------------------------

    def label(self, name: str, label: str) -> LabelMove | None:
        found = self._moves(_moves_of(name, label).limit(1))
        return found[0] if found else None

    def labels(self, name: str | None = None) -> list[LabelMove]:
        table = prompt_label_move
        newest = select(table.c.name, table.c.label, func.max(table.c.revision).label("revision"))
        if name is not None:
            newest = newest.where(table.c.name == name)
        found = newest.group_by(table.c.name, table.c.label).subquery()
        same = (table.c.name == found.c.name) & (table.c.label == found.c.label)
        query = select(table).join(found, same & (table.c.revision == found.c.revision))
        return self._moves(query.order_by(table.c.name, table.c.label))

    def moves(self, name: str, label: str) -> list[LabelMove]:
        return self._moves(_moves_of(name, label))

    def move(self, new: LabelMove, expected: int | None) -> LabelMove | None:
        with self._database.begin() as connection:
            # The counter's row is locked until the commit: movers of one label come one after the other.
            revision = next_value(connection, f"prompt-label:{new.name}:{new.label}")
            newest = connection.execute(_moves_of(new.name, new.label).limit(1)).one_or_none()
            if (None if newest is None else newest.revision) != expected:
                return None
            moved = msgspec.structs.replace(new, revision=revision)
            connection.execute(
                insert(prompt_label_move).values({**msgspec.structs.asdict(moved), "targets": to_json(moved.targets)})
            )
            before = [] if newest is None else from_json(newest.targets)
            payload = {
                "prompt": moved.name,
                "label": moved.label,
                "revision": moved.revision,
                "action": moved.action,
                "targets": msgspec.to_builtins(moved.targets),
                "before": before,
                "reason": moved.reason,
            }
            insert_events(connection, [EventDraft("prompt_label_moved", moved.by, payload=payload)], moved.at)
        return moved

    def _moves(self, query: Select[Any]) -> list[LabelMove]:
        with self._database.read() as connection:
            return [_move_of(row) for row in connection.execute(query)]


def _moves_of(name: str, label: str) -> Select[Any]:
    table = prompt_label_move
    return select(table).where(table.c.name == name, table.c.label == label).order_by(table.c.revision.desc())


def _move_of(row: Row[Any]) -> LabelMove:
    return LabelMove(**{**row._mapping, "targets": msgspec.json.decode(row.targets, type=tuple[Target, ...])})


def _values(version: PromptVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "template": version.template,
        "messages": to_json(version.turns),
        "variables": to_json(version.variables),
        "inputs": to_json(version.inputs),
        "defaults": to_json(version.defaults),
        "comment": version.comment,
        "hash": version.digest,
        "created_by": version.created_by,
        "created_at": version.created_at,
    }


def _prompt_of(row: Row[Any]) -> PromptVersion:
    return PromptVersion(
        name=row.name,
        version=row.version,
        template=row.template,
        turns=msgspec.json.decode(row.messages, type=tuple[Turn, ...]),
        variables=tuple(from_json(row.variables)),
        inputs=msgspec.json.decode(row.inputs, type=tuple[Variable, ...]),
        defaults=msgspec.json.decode(row.defaults, type=Defaults),
        comment=row.comment,
        digest=row.hash,
        created_by=row.created_by,
        created_at=row.created_at,
    )
