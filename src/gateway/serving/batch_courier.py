"""Carries requests to providers' batch APIs and their answers back, whoever dies meanwhile.

What is about to be done is written before it is done: a part is ``submitting`` before it is handed over and
``sent`` once the provider's id is kept, so whoever takes over knows whether to look for it at the provider
before it is handed over again. Each answer is settled from what was set aside for it: twice is once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import SECOND, Clock
from gateway.errors import GatewayError, UpstreamError
from gateway.ids import new_id
from gateway.models.batch_models import BatchApi, BatchAsk, BatchLook, Undecided
from gateway.registry.catalogue import Catalogue
from gateway.serving.batch_offers import BatchApis, batch_api_of
from gateway.serving.batch_settling import BatchSettling
from gateway.store.provider_batch_store import Ask, Part, SqlProviderBatchStore

_log = logging.getLogger(__name__)
#: How often it is looked for work where there was none, in seconds.
_REST_SECONDS = 10.0
#: How long a part is a courier's without a sign of life, and how often it gives one, in seconds.
_LEASE, _BEAT = 60, 15
#: The longest pause between two looks at a part that something is wrong with, in seconds.
_LONGEST_PAUSE = 600.0
#: How long a part whose batch does not end, or cannot be heard of, is tried, in seconds; a provider's takes a day.
_GIVE_UP = 48 * 3_600
#: What OpenAI says of a batch for which the queue of the account has no room now.
_QUEUE_FULL = "token_limit_exceeded"
#: HTTP answers to a submission after which it may be taken later.
_PASSING = frozenset({401, 403, 408, 409, 429})


class BatchCourier:
    """One a worker; ``run`` has a loop and a thread of its own. ``every`` is how often a provider's batch is
    asked about, and how long single requests are gathered, in seconds."""

    def __init__(
        self,
        store: SqlProviderBatchStore,
        catalogue: Callable[[], Catalogue],
        apis: BatchApis,
        settling: BatchSettling,
        clock: Clock,
        *,
        every: float,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._apis = apis
        self._settling = settling
        self._clock = clock
        self._every = every
        self._name = new_id("courier")

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set. A round that fails is logged and followed by the next."""
        while not stop.is_set():
            found = True
            try:
                found = await self.round()
            except (GatewayError, SQLAlchemyError) as error:
                _log.warning("a round of the batch courier failed: %s", error)
            except Exception:  # noqa: BLE001 - told in the log; the loop goes on
                if await _is_ending():
                    return  # whoever comes next goes on from here
                _log.exception("a round of the batch courier failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(self._every, 2.0 if found else _REST_SECONDS))

    async def round(self) -> bool:
        """Everything that is due now, once. False: there was nothing."""
        found = False
        for ask in await asyncio.to_thread(self._store.loose):
            found = True
            await self._settling.undone(ask, "batch_cancelled", "it was called off before it was handed over")
        ripe = self._clock.now() - int(self._every * SECOND)
        await asyncio.to_thread(self._store.gather, ripe)
        while (part := await asyncio.to_thread(self._store.claim, self._name, self._lease())) is not None:
            found = True
            await self._carry(part)
        return found

    async def _carry(self, part: Part) -> None:
        """One step of a part's way; the lease is kept meanwhile and given up after it."""
        beat = asyncio.create_task(self._beat(part))
        values: dict[str, Any] = {"next_look": self._in(self._pause(part))}
        try:
            values |= await self._step(part)
        except _Fenced:
            _log.warning("%s was taken over by another process", part.part_id)
        except Undecided as pause:
            _log.info("%s: %s", part.part_id, pause)
            if self._overdue(part):
                values |= await self._given_up(part, str(pause))
        except GatewayError as error:
            _log.warning("%s at %s: %s", part.part_id, part.provider, error.message)
            if part.problem and self._overdue(part):  # not at the first word after a long silence of ours
                values = await self._given_up(part, f"no word of the batch in time: {error.message}")
            else:
                wait = max(error.retry_after or 0.0, self._pause(part))
                values = {"problem": error.message[:500], "next_look": self._in(wait)}
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
        await asyncio.to_thread(self._store.save, part.part_id, self._name, lease_until=0, **values)

    async def _step(self, part: Part) -> dict[str, Any]:
        api = self._api(part)
        if part.state == "new":
            if not await asyncio.to_thread(self._store.wanted, part.part_id):
                return await self._closed(part, "batch_cancelled", "it was called off before it was handed over")
            return await self._submit(part, api, at=self._clock.now())
        if part.state == "submitting":
            return await self._look_for(part, api)
        return await self._look(part, api)

    async def _submit(self, part: Part, api: BatchApi, *, at: int) -> dict[str, Any]:
        asks = await asyncio.to_thread(lambda: [_sent(ask) for ask in self._store.asks(part.part_id)])
        await self._save(part, state="submitting", submitted_at=at)
        try:
            upstream_id = await api.submit(part.part_id, asks)
        except UpstreamError as error:
            return await self._not_submitted(part, error)
        _log.info("%s with %s requests is batch %s of %s", part.part_id, len(asks), upstream_id, part.provider)
        await self._save(part, state="sent", upstream_id=upstream_id, problem="")
        return {"next_look": self._in(self._every)}

    async def _not_submitted(self, part: Part, error: UpstreamError) -> dict[str, Any]:
        """A refusal ends the part; what never reached the provider is tried again; for the rest one has to
        look there, for it may have been taken."""
        status = error.details.get("upstream_status")
        if isinstance(status, int) and 400 <= status < 500 and status not in _PASSING:
            return await self._closed(part, "refused", error.message, status=status)
        surely_not = isinstance(status, int) and status in _PASSING and status != 408
        if surely_not or not error.details.get("reached"):
            await self._save(part, state="new", submitted_at=None)
        raise error

    async def _look_for(self, part: Part, api: BatchApi) -> dict[str, Any]:
        """The batch that an interrupted submission made, if it made one."""
        since = (part.submitted_at or part.created_at) // SECOND
        names = await asyncio.to_thread(lambda: frozenset(ask.ask_id for ask in self._store.asks(part.part_id)))
        taken = await asyncio.to_thread(self._store.taken, part.provider)
        found = await api.find(part.part_id, since, names, taken)
        if found is None and not await asyncio.to_thread(self._store.wanted, part.part_id):
            return await self._closed(part, "batch_cancelled", "it was called off before it was handed over")
        if found is None:
            return await self._submit(part, api, at=part.submitted_at or self._clock.now())
        _log.warning("%s was handed over by a process that died: it is batch %s", part.part_id, found)
        return {"state": "sent", "upstream_id": found, "next_look": 0}

    async def _look(self, part: Part, api: BatchApi) -> dict[str, Any]:
        look = await api.look(str(part.upstream_id))
        if look.state == "running":
            values: dict[str, Any] = {"upstream_status": look.word, "problem": ""}
            if not part.cancel_asked and not await asyncio.to_thread(self._store.wanted, part.part_id):
                await api.cancel(look.batch_id)
                values["cancel_asked"] = True
            if self._overdue(part):
                values |= await self._given_up(part, f"the provider's batch does not end ({look.word})")
            return values
        waited_long = self._clock.now() - part.created_at > _GIVE_UP * SECOND
        if look.state == "failed" and _QUEUE_FULL in look.problem and not waited_long:
            return {"state": "new", "upstream_id": None, "submitted_at": None, "problem": look.problem}
        if look.state == "failed":
            return {"upstream_status": look.word, **await self._closed(part, "refused", look.problem or look.word)}
        await self._collect(part, api, look)
        return {"upstream_status": look.word, "state": "ended", "ended_at": self._clock.now(), "problem": ""}

    async def _collect(self, part: Part, api: BatchApi, look: BatchLook) -> None:
        """Settles every answer, and gives back what was set aside for requests that have none."""
        async for result in api.results(look):
            ask = await asyncio.to_thread(self._store.named, result.name)
            if ask is None or ask.part_id != part.part_id or ask.state == "done":
                continue
            await self._settling.ended(ask, result, api, look.batch_id)
        code = {"expired": "batch_expired", "cancelled": "batch_cancelled"}.get(look.word, "no_result")
        for ask in await asyncio.to_thread(lambda: list(self._store.asks(part.part_id, undone=True))):
            await self._settling.undone(ask, code, f"the provider's batch ended ({look.word}) without its answer")
        try:
            await api.discard(look)
        except GatewayError as error:
            _log.warning("batch %s was not deleted at %s: %s", look.batch_id, part.provider, error.message)

    async def _closed(self, part: Part, code: str, message: str, status: int = 0) -> dict[str, Any]:
        """Ends a part that the provider did no work for."""
        for ask in await asyncio.to_thread(lambda: list(self._store.asks(part.part_id, undone=True))):
            await self._settling.undone(ask, code, message, status)
        return {"state": "ended", "ended_at": self._clock.now(), "problem": message[:500]}

    async def _given_up(self, part: Part, message: str) -> dict[str, Any]:
        """Ends a part of which nothing will be heard any more. What the provider may have worked on is charged in
        full, as ``unresolved``."""
        if await asyncio.to_thread(self._store.state, part.part_id) == "new":
            return await self._closed(part, "no_result", message)
        for ask in await asyncio.to_thread(lambda: list(self._store.asks(part.part_id, undone=True))):
            await self._settling.given_up(ask, message, part.upstream_id)
        return {"state": "ended", "ended_at": self._clock.now(), "problem": message[:500]}

    def _overdue(self, part: Part) -> bool:
        return self._clock.now() - (part.submitted_at or part.created_at) > _GIVE_UP * SECOND

    def _api(self, part: Part) -> BatchApi:
        return batch_api_of(self._catalogue(), self._apis, part.provider, part.model)

    async def _save(self, part: Part, **values: Any) -> None:
        if not await asyncio.to_thread(self._store.save, part.part_id, self._name, **values):
            raise _Fenced

    async def _beat(self, part: Part) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            await asyncio.to_thread(self._store.save, part.part_id, self._name, lease_until=self._lease())

    def _lease(self) -> int:
        return self._clock.now() + _LEASE * SECOND

    def _in(self, seconds: float) -> int:
        return self._clock.now() + int(seconds * SECOND)

    def _pause(self, part: Part) -> float:
        """A little longer each time while something is wrong, by the time it has been so."""
        if not part.problem:
            return self._every
        since = (self._clock.now() - (part.submitted_at or part.created_at)) / SECOND
        return min(max(self._every, since / 10), _LONGEST_PAUSE)


async def _is_ending() -> bool:
    """Whether this process ends, so that no thread is to be had for anything any more."""
    try:
        await asyncio.to_thread(bool)
    except RuntimeError:
        return True
    return False


class _Fenced(Exception):
    """The lease of the part is another courier's by now."""


def _sent(ask: Ask) -> BatchAsk:
    return BatchAsk(ask.ask_id, ask.body.encode())
