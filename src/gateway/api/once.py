"""``Idempotency-Key``: the same key and body give the first answer again, whoever repeats it and where.

An answer that is on its way in this process is waited for; in another, it is a 409 that says when to
come back. A request with a key is worked on to its end though its client leaves: the answer waits for
the retry. Nothing here costs a request without the header anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from gateway.errors import GatewayError, ValidationFailed
from gateway.store.idempotency_store import LEASE_SECONDS, KeptAnswer, SqlIdempotencyStore, Turn, other_use

_log = logging.getLogger(__name__)
_LONGEST_KEY = 255
#: Of a route this much is kept with its key.
_LONGEST_ROUTE = 200
#: Larger answers are given once and not kept, in bytes.
_LARGEST = 64 * 1024 * 1024
#: Where a request carries the cause of its charge.
CAUSE = "gateway.cause"

_Outcome = KeptAnswer | GatewayError | None
Act = Callable[[Turn], Coroutine[Any, Any, KeptAnswer]]


class OnceKeys:
    """The keys of this process; belongs to one event loop."""

    def __init__(self, store: SqlIdempotencyStore) -> None:
        self._store = store
        self._running: dict[tuple[str, str], tuple[str, asyncio.Future[_Outcome]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def answer(self, owner: str, key: str, digest: str, act: Act) -> tuple[KeptAnswer, bool]:
        """The answer, and whether it is an earlier one given again. ``act`` runs in a task of its own:
        it ends also where this coroutine is cancelled."""
        check_key(key)
        while (running := self._running.get((owner, key))) is not None:
            if running[0] != digest:
                raise other_use(running[0], digest)
            found = await asyncio.shield(running[1])
            if isinstance(found, GatewayError):
                raise found
            if found is not None:
                return found, True
        coming: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._running[owner, key] = (digest, coming)
        taking = asyncio.ensure_future(self._take(owner, key, digest, act, coming))
        self._tasks.add(taking)
        taking.add_done_callback(self._ended)
        return await asyncio.shield(taking)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits for it is told

    async def _take(
        self, owner: str, key: str, digest: str, act: Act, coming: asyncio.Future[_Outcome]
    ) -> tuple[KeptAnswer, bool]:
        result: _Outcome = None
        try:
            begun = await asyncio.to_thread(self._store.begin, owner, key, digest)
            if isinstance(begun, KeptAnswer):
                result = begun
                return begun, True
            result = await self._act(begun, act)
            return result, False
        except GatewayError as error:
            result = error
            raise
        finally:
            del self._running[owner, key]
            coming.set_result(result)

    async def _act(self, turn: Turn, act: Act) -> KeptAnswer:
        lease = asyncio.create_task(self._keep(turn))
        finished = False
        try:
            answer = await act(turn)
            if len(answer.body) <= _LARGEST:
                await self._store_safely(self._store.finish, turn, answer)
                finished = True
            return answer
        finally:
            lease.cancel()
            if not finished:
                await asyncio.shield(self._store_safely(self._store.abandon, turn))

    @staticmethod
    async def _store_safely(write: Callable[..., object], turn: Turn, *more: object) -> None:
        """The caller gets the answer also where it cannot be kept: the lease then runs out, and the
        ledger says whether a repeat may be done."""
        try:
            await asyncio.to_thread(write, turn, *more)
        except GatewayError as error:
            _log.warning("the answer of an idempotency key could not be kept: %s", error.message)

    async def _keep(self, turn: Turn) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                if not await asyncio.to_thread(self._store.renew, turn):
                    return
            except GatewayError as error:
                _log.warning("the lease of an idempotency key could not be renewed: %s", error.message)


def check_key(key: str) -> None:
    """``ValidationFailed`` for a key that is none."""
    if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
        raise ValidationFailed(f"Idempotency-Key: 1 to {_LONGEST_KEY} printable characters", param="Idempotency-Key")


def name_of(scope: Mapping[str, Any], prefix: str) -> str | None:
    """The id of what a request with a key makes: the same when it is done again after its process died."""
    cause = scope.get(CAUSE)
    return None if cause is None else f"{prefix}_{cause.partition('_')[2]}"


def digest_of(route: str, body: Mapping[str, Any] | bytes) -> str:
    """What a repeated request must have in common with the first, however its JSON is written: a hash of the route
    and the body, and the route itself, so that another use of the key can be told by it."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body, order="deterministic")
    hashed = hashlib.sha256(route.encode() + b"\n" + content).hexdigest()
    return f"{hashed} {route[:_LONGEST_ROUTE]}"
