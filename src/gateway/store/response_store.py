"""Responses in SQL: each keeps its own input and output, and which one it goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, delete, literal, select

from gateway.clock import SECOND, Clock
from gateway.errors import NotFound
from gateway.store.codec import from_json, to_json
from gateway.store.engine import Database
from gateway.store.tables import response

#: How long a response is kept, as OpenAI does.
KEEP_SECONDS = 30 * 86_400
#: The longest conversation that is followed back.
_LONGEST = 1_000


class KeptResponse(Struct, frozen=True):
    """A response with the items it was asked with (its own, not those before it)."""

    response_id: str
    previous_id: str | None
    input: list[dict[str, Any]]
    body: dict[str, Any]


class SqlResponseStore:
    """Keeps responses by tenant: nobody finds another's."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(self, tenant: str, kept: KeptResponse) -> None:
        """Keeps it from now on."""
        now = self._clock.now()
        with self._database.begin() as connection:
            connection.execute(
                response.insert().values(
                    response_id=kept.response_id,
                    tenant=tenant,
                    previous_id=kept.previous_id,
                    input=to_json(kept.input),
                    body=to_json(kept.body),
                    created_at=now,
                    expires_at=now + KEEP_SECONDS * SECOND,
                )
            )

    def get(self, tenant: str, response_id: str) -> KeptResponse:
        """``NotFound`` where it is not there, or not theirs."""
        return self.chain(tenant, response_id, most=1)[0]

    def chain(self, tenant: str, response_id: str, *, most: int = _LONGEST) -> list[KeptResponse]:
        """The response and all it goes on from, oldest first. ``NotFound`` where one of them is gone."""
        mine = (response.c.tenant == tenant) & (response.c.expires_at > self._clock.now())
        link = (
            select(response.c.response_id, response.c.previous_id, literal(0).label("depth"))
            .where(response.c.response_id == response_id, mine)
            .cte("link", recursive=True)
        )
        earlier = select(response.c.response_id, response.c.previous_id, link.c.depth + 1).where(
            response.c.response_id == link.c.previous_id, mine, link.c.depth + 1 < most
        )
        link = link.union_all(earlier)
        query = select(response).join(link, link.c.response_id == response.c.response_id).order_by(link.c.depth.desc())
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise NotFound(
                "no response of that id is kept for you",
                mend="responses are kept for 30 days, and not where store is false",
                param="previous_response_id" if most > 1 else "response_id",
            )
        if most > 1 and rows[0].previous_id is not None:
            raise NotFound(
                "a response that this one goes on from is no longer kept",
                mend="send the conversation as input",
                param="previous_response_id",
            )
        return [_kept(row) for row in rows]

    def several(self, tenant: str, response_ids: Sequence[str]) -> dict[str, KeptResponse]:
        """Those of the responses that are theirs and still there, by id; without what they go on from."""
        mine = (response.c.tenant == tenant) & (response.c.expires_at > self._clock.now())
        with self._database.read() as connection:
            rows = connection.execute(select(response).where(response.c.response_id.in_(response_ids), mine)).all()
        return {row.response_id: _kept(row) for row in rows}

    def delete(self, tenant: str, response_id: str) -> None:
        """``NotFound`` where it is not there, or not theirs."""
        with self._database.begin() as connection:
            gone = connection.execute(
                delete(response).where(response.c.response_id == response_id, response.c.tenant == tenant)
            )
        if not gone.rowcount:
            raise NotFound("no response of that id is kept for you", param="response_id")

    def sweep(self) -> int:
        """Deletes responses past their time; how many."""
        with self._database.begin() as connection:
            return connection.execute(delete(response).where(response.c.expires_at <= self._clock.now())).rowcount


def _kept(row: Row[Any]) -> KeptResponse:
    return KeptResponse(row.response_id, row.previous_id, from_json(row.input), from_json(row.body))
