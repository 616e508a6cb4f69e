"""``Idempotency-Key``: the same key and body give the first answer again, whoever repeats it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call
from gateway.errors import ValidationFailed
from gateway.store.idempotency_store import KeptAnswer

_LONGEST = 255
_KEPT_HEADERS = ("location", "content-type")


async def once(call: Call, body: dict[str, Any], act: Callable[[], Awaitable[Response]]) -> Response:
    """``act()``, or the answer it gave before. An answer of 5xx or an error is not kept: try again."""
    key = call.request.headers.get("idempotency-key")
    if key is None:
        return await act()
    if not 0 < len(key) <= _LONGEST or not key.isprintable():
        raise ValidationFailed(f"Idempotency-Key: 1 to {_LONGEST} printable characters", param="Idempotency-Key")
    store = call.services.idempotency
    route = f"{call.request.method} {call.request.url.path}"
    digest = hashlib.sha256(route.encode() + b"\n" + msgspec.json.encode(body, order="deterministic")).hexdigest()
    kept = await asyncio.to_thread(store.begin, call.caller.principal, key, digest)
    if kept is not None:
        return Response(kept.body, kept.status, {**kept.headers, "idempotent-replayed": "true"})
    try:
        response = await act()
    except BaseException:
        await asyncio.shield(asyncio.to_thread(store.forget, call.caller.principal, key))
        raise
    if response.status_code >= 500:
        await asyncio.to_thread(store.forget, call.caller.principal, key)
        return response
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    answer = KeptAnswer(response.status_code, headers, bytes(response.body).decode())
    await asyncio.shield(asyncio.to_thread(store.finish, call.caller.principal, key, answer))
    return response
