"""What a step asked of models and what it was answered: kept as each answer comes.

An attempt that goes on where another was cut off (its worker died, or it waited) is given the answers that
came before, in the order in which they were asked: nothing is paid twice. One that follows a failure asks anew: the
answer may have been what failed. A replay of a run is given those of the run it repeats, and asks no provider.

Each call of a language model, and of a predictive one that has a price, is noted before it is made, under a key that
is the same whoever makes it again, so that one whose outcome a dead worker left unknown is not paid twice unseen: see
``tasks.unknown_outcomes``. What predictions of our own machine gave is not kept: that version gives it again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.clock import Clock
from gateway.engine.rows import BegunCall, KeptCall, RunRow, StepRow
from gateway.errors import StepCancelled, StepFailed
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat
from gateway.security.access import Caller
from gateway.serving.answer import ChatAnswer
from gateway.serving.predict import PredictAnswer, PredictRequest
from gateway.tasks.unknown_outcomes import BegunCalls, generation_of
from gateway.workflows.context import ChatPort, PredictPort

_ANSWER = msgspec.json.Decoder(ChatAnswer)
_PREDICTED = msgspec.json.Decoder(PredictAnswer)


class CallStore(BegunCalls, Protocol):
    """Where answered calls are kept; see ``store.step_call_store``."""

    def begin(self, call: BegunCall) -> bool:
        """Notes a call that is about to be made. False: the step is another worker's by now."""
        ...

    def ended(self, call: BegunCall) -> None:
        """The call came to an end other than an answer."""
        ...

    def add(self, call: KeptCall) -> None: ...

    def of_task(self, task_id: str) -> list[KeptCall]: ...

    def task_of(self, run_id: str, step_id: str) -> str | None:
        """The task id of that step (or item) of that run."""
        ...


class StepCalls:
    """The calls of one attempt; it is a ``ChatPort`` and a ``PredictPort``. ``paid`` says of a predictive model
    whether it costs something."""

    def __init__(
        self,
        run: RunRow,
        step: StepRow,
        chat: ChatPort,
        predict: PredictPort,
        store: CallStore,
        clock: Clock,
        paid: Callable[[str], bool],
    ) -> None:
        self._step = step
        self._chat = chat
        self._predict = predict
        self._store = store
        self._clock = clock
        self._paid = paid
        origin = run.origin or {}
        self._replayed: str | None = str(origin["run_id"]) if origin.get("how") == "replay" else None
        self._generation = generation_of(step)
        self._kept: dict[tuple[str, int], KeptCall] | None = None
        self._asked: Counter[str] = Counter()

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer:
        """The answer that was kept, else the model's."""
        key, kept = await self._before(hash_of("llm", chat, provider))
        if kept is not None:
            return _ANSWER.decode(kept.answer)
        if self._replayed is not None:
            raise StepFailed(
                f"step {self._step.step_id!r} asks what the replayed run did not ask",
                mend="its inputs or its code differ; begin the run again instead: POST /runs/ID/retry",
            )
        begun = await self._begin(key, chat.model)
        call = msgspec.structs.replace(call, notes={**call.notes, "step_call": begun.key})
        try:
            answer = await self._chat.complete(caller, chat, call, provider=provider)
        except Exception:  # how it ended is known; a call that is cancelled may have been answered
            await asyncio.to_thread(self._store.ended, begun)
            raise
        body, notes = msgspec.json.encode(answer).decode(), msgspec.json.encode(call.notes).decode()
        meta = answer.meta
        await self._keep(key, "llm", meta.model, meta.provider, None, notes, meta.entry_id, body)
        return answer

    async def predict(
        self, caller: Caller, request: PredictRequest, call: CallContext, *, provider: str | None = None
    ) -> PredictAnswer:
        """The answer that was paid for and kept, else the model's; in a replay that of the version that answered
        then."""
        key, kept = await self._before(hash_of("ml", request, provider))
        if kept is not None and kept.answer:
            return _PREDICTED.decode(kept.answer)
        if kept is not None:
            request = msgspec.structs.replace(request, version=kept.version, alias=None)
        if kept is not None or not self._paid(request.model):
            answer, body = await self._predict.predict(caller, request, call, provider=provider), ""
        else:
            answer = await self._predict_paid(caller, request, call, provider, key)
            body = msgspec.json.encode(answer).decode()
        if kept is None:
            meta = answer.meta
            await self._keep(key, "ml", answer.model, meta.provider, answer.version, "{}", meta.entry_id, body)
        return answer

    async def _predict_paid(
        self, caller: Caller, request: PredictRequest, call: CallContext, provider: str | None, key: tuple[str, int]
    ) -> PredictAnswer:
        begun = await self._begin(key, request.model)
        call = msgspec.structs.replace(call, notes={**call.notes, "step_call": begun.key})
        try:
            return await self._predict.predict(caller, request, call, provider=provider)
        except Exception:  # as in ``complete``
            await asyncio.to_thread(self._store.ended, begun)
            raise

    async def _begin(self, key: tuple[str, int], model: str) -> BegunCall:
        step = self._step
        begun = BegunCall(step.task_id, step.token, *key, self._generation, model, self._clock.now())
        if not await asyncio.to_thread(self._store.begin, begun):
            raise StepCancelled("the step was taken from this worker")
        return begun

    async def _before(self, request: str) -> tuple[tuple[str, int], KeptCall | None]:
        if self._kept is None:
            self._kept = await asyncio.to_thread(self._read)
        key = (request, self._asked[request])
        self._asked[request] += 1
        return key, self._kept.get(key)

    def _read(self) -> dict[tuple[str, int], KeptCall]:
        if self._replayed is not None:
            task_id = self._store.task_of(self._replayed, self._step.step_id)
            calls = self._store.of_task(task_id or "")
            last = max((call.generation for call in calls), default=0)
            return {(call.request, call.number): call for call in calls if call.generation == last}
        if self._step.token <= 1:  # nobody has worked on it before
            return {}
        calls = self._store.of_task(self._step.task_id)
        return {(call.request, call.number): call for call in calls if call.generation == self._generation}

    async def _keep(
        self,
        key: tuple[str, int],
        kind: str,
        model: str,
        provider: str,
        version: int | None,
        notes: str,
        entry_id: str | None,
        answer: str,
    ) -> None:
        kept = KeptCall(
            task_id=self._step.task_id,
            generation=self._generation,
            request=key[0],
            number=key[1],
            kind=kind,
            model=model,
            provider=provider,
            version=version,
            notes=notes,
            entry_id=entry_id,
            answer=answer,
            at=self._clock.now(),
        )
        await asyncio.to_thread(self._store.add, kept)


def hash_of(*what: object) -> str:
    """SHA-256 of what is asked, as canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()
