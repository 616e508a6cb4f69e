"""API keys in SQL: the hash, never the key."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, or_, select, update

from gateway.models.bound import Bound
from gateway.security.identity import KeyRecord
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.rate_limit_store import bounds_of
from gateway.store.tables import api_key


class SqlKeyStore:
    """Keeps API keys; see ``security.identity.KeyStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_hash(self, key_hash: str) -> KeyRecord | None:
        with self._database.read() as connection:
            row = connection.execute(select(api_key).where(api_key.c.hash == key_hash)).one_or_none()
            return None if row is None else _record_of(row, bounds_of(connection, row.principal, row.team))

    def insert(self, record: KeyRecord, key_hash: str) -> bool:
        values = msgspec.structs.asdict(record)
        del values["shared"]
        values["models"] = msgspec.json.encode(record.models).decode()
        with self._database.begin() as connection:
            added = connection.execute(
                insert_into(connection, api_key)
                .values({**values, "hash": key_hash})
                .on_conflict_do_nothing(index_elements=[api_key.c.hash])
                .returning(api_key.c.key_id)
            )
            return added.first() is not None

    def get(self, key_id: str) -> KeyRecord | None:
        with self._database.read() as connection:
            row = connection.execute(select(api_key).where(api_key.c.key_id == key_id)).one_or_none()
            return None if row is None else _record_of(row, bounds_of(connection, row.principal, row.team))

    def shared(self, principal: str, team: str | None) -> tuple[Bound, ...]:
        with self._database.read() as connection:
            return bounds_of(connection, principal, team)

    def list(self, after: str | None, limit: int) -> list[KeyRecord]:
        query = select(api_key).order_by(api_key.c.key_id.desc()).limit(limit)
        if after is not None:
            query = query.where(api_key.c.key_id < after)
        with self._database.read() as connection:
            return [_record_of(row) for row in connection.execute(query)]

    def revoke(self, key_id: str, at: int) -> bool:
        with self._database.begin() as connection:
            revoked = connection.execute(
                update(api_key)
                .where(api_key.c.key_id == key_id, api_key.c.revoked_at.is_(None))
                .values(revoked_at=at)
                .returning(api_key.c.key_id)
            )
            return revoked.first() is not None

    def any_admin(self, now: int) -> bool:
        query = (
            select(api_key.c.key_id)
            .where(api_key.c.role == "admin", api_key.c.revoked_at.is_(None))
            .where(or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now))
            .limit(1)
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None


def _record_of(row: Row[Any], shared: tuple[Bound, ...] = ()) -> KeyRecord:
    values = dict(row._mapping)
    del values["hash"]
    values["shared"] = shared
    values["models"] = msgspec.json.decode(values["models"], type=tuple[str, ...])
    return KeyRecord(**values)
