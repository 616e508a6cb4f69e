"""Model versions and aliases in SQL."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from gateway.models.ml_models import ModelSchema, ModelVersion
from gateway.registry.model_registry import Alias
from gateway.store.codec import from_json, to_json
from gateway.store.dialect import insert_into
from gateway.store.engine import Database, next_value
from gateway.store.tables import model_alias, model_version


class SqlRegistryStore:
    """See ``registry.model_registry.RegistryStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, version: ModelVersion) -> ModelVersion:
        with self._database.begin() as connection:
            number = next_value(connection, f"model:{version.model}")
            added = msgspec.structs.replace(version, version=number)
            connection.execute(insert(model_version).values(_values(added)))
        return added

    def version(self, model: str, version: int) -> ModelVersion | None:
        query = select(model_version).where(model_version.c.model == model, model_version.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else _version_of(row, _aliases(connection, model))

    def versions(self, model: str) -> list[ModelVersion]:
        query = select(model_version).where(model_version.c.model == model).order_by(model_version.c.version.desc())
        with self._database.read() as connection:
            aliases = _aliases(connection, model)
            return [_version_of(row, aliases) for row in connection.execute(query)]

    def alias(self, model: str, alias: str) -> Alias | None:
        query = select(model_alias).where(model_alias.c.model == model, model_alias.c.alias == alias)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _alias_of(row)

    def point(self, model: str, alias: str, version: int, by: str, now: int, *, only_if_absent: bool = False) -> Alias:
        with self._database.begin() as connection:
            statement = insert_into(connection, model_alias).values(
                model=model, alias=alias, version=version, previous=None, updated_by=by, updated_at=now
            )
            key = [model_alias.c.model, model_alias.c.alias]
            if only_if_absent:
                connection.execute(statement.on_conflict_do_nothing(index_elements=key))
            else:
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=key,
                        set_={
                            "version": version,
                            "previous": model_alias.c.version,
                            "updated_by": by,
                            "updated_at": now,
                        },
                        where=model_alias.c.version != version,
                    )
                )
            row = connection.execute(
                select(model_alias).where(model_alias.c.model == model, model_alias.c.alias == alias)
            ).one()
        return _alias_of(row)

    def swap_back(self, model: str, alias: str, by: str, now: int) -> Alias | None:
        with self._database.begin() as connection:
            row = connection.execute(
                update(model_alias)
                .where(model_alias.c.model == model, model_alias.c.alias == alias, model_alias.c.previous.is_not(None))
                .values(version=model_alias.c.previous, previous=model_alias.c.version, updated_by=by, updated_at=now)
                .returning(model_alias)
            ).one_or_none()
        return None if row is None else _alias_of(row)

    def models(self) -> list[str]:
        with self._database.read() as connection:
            query = (
                select(model_version.c.model).group_by(model_version.c.model).order_by(func.min(model_version.c.model))
            )
            return list(connection.scalars(query))


def _aliases(connection: Connection, model: str) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    query = select(model_alias.c.alias, model_alias.c.version).where(model_alias.c.model == model)
    for row in connection.execute(query.order_by(model_alias.c.alias)):
        found[row.version] = (*found.get(row.version, ()), row.alias)
    return found


def _values(version: ModelVersion) -> dict[str, Any]:
    values = {name: getattr(version, name) for name in version.__struct_fields__ if name != "aliases"}
    for name in ("schema", "metrics", "card", "libraries"):
        values[name] = to_json(values[name])
    return values


def _version_of(row: Row[Any], aliases: dict[int, tuple[str, ...]]) -> ModelVersion:
    values = dict(row._mapping)
    for name in ("metrics", "card", "libraries"):
        values[name] = from_json(values[name])
    values["schema"] = msgspec.json.decode(values["schema"], type=ModelSchema)
    return ModelVersion(**values, aliases=aliases.get(row.version, ()))


def _alias_of(row: Row[Any]) -> Alias:
    return Alias(**row._mapping)
