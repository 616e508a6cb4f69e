"""Rate limits of users and teams in SQL."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, select

from gateway.models.bound import Bound
from gateway.security.limit_desk import SetLimit
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import rate_limit

_COLUMNS = [rate_limit.c[name] for name in SetLimit.__struct_fields__]


class SqlRateLimitStore:
    """Keeps what is set; see ``security.limit_desk.LimitStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, limit: SetLimit) -> None:
        values = msgspec.structs.asdict(limit)
        with self._database.begin() as connection:
            connection.execute(
                insert_into(connection, rate_limit)
                .values(values)
                .on_conflict_do_update(index_elements=[rate_limit.c.name], set_=values)
            )

    def list(self) -> list[SetLimit]:
        with self._database.read() as connection:
            rows = connection.execute(select(*_COLUMNS).order_by(rate_limit.c.name))
            return [SetLimit(*row) for row in rows]

    def remove(self, name: str) -> SetLimit | None:
        with self._database.begin() as connection:
            gone = connection.execute(delete(rate_limit).where(rate_limit.c.name == name).returning(*_COLUMNS)).first()
        return None if gone is None else SetLimit(*gone)


def bounds_of(connection: Connection, principal: str, team: str | None) -> tuple[Bound, ...]:
    """What is set for that user and that team."""
    names = [f"user:{principal}", *([f"team:{team}"] if team else [])]
    rows = connection.execute(select(*_COLUMNS).where(rate_limit.c.name.in_(names)).order_by(rate_limit.c.name.desc()))
    return tuple(SetLimit(*row).bound for row in rows)
