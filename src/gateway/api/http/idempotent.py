"""``Idempotency-Key`` on the doors that answer whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call
from gateway.api.once import CAUSE, digest_of
from gateway.store.idempotency_store import KeptAnswer, Turn

_KEPT_HEADERS = ("location", "content-type")


async def once(call: Call, body: dict[str, Any], act: Callable[[], Awaitable[Response]]) -> Response:
    """``act()``, or the answer it gave before. An error that cost nothing is not kept: try again."""
    key = call.request.headers.get("idempotency-key")
    if key is None:
        return await act()
    first: list[Response] = []

    async def acting(turn: Turn) -> KeptAnswer:
        call.request.scope[CAUSE] = turn.cause
        response = await act()
        first.append(response)
        headers = {
            name: value
            for name, value in response.headers.items()
            if name in _KEPT_HEADERS or name.startswith("x-gateway-")
        }
        return KeptAnswer(response.status_code, headers, bytes(response.body).decode())

    digest = digest_of(f"{call.request.method} {call.request.url.path}", body)
    kept, _again = await call.services.once.answer(call.caller.principal, key, digest, acting)
    if first:
        return first[0]
    return Response(kept.body, kept.status, {**kept.headers, "idempotent-replayed": "true"})
