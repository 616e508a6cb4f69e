"""The story of an embedding: the same path as a chat's, to one deployment.

There are no fallbacks: vectors of two models do not live in one space, so an answer of another model
would be wrong, not late.
"""

from __future__ import annotations

import asyncio
import base64
import time
from array import array
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from sys import byteorder
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from gateway.errors import GatewayError, NotSupported, UpstreamError, ValidationFailed
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import MOST_TOKENS, card_for_llm, cost_llm, worst_case
from gateway.models.call import CallContext
from gateway.models.embedding_models import EmbeddingModel, Embeddings, EmbedRequest
from gateway.models.llm_models import Usage
from gateway.models.selection import refuse_selection
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.routing.health import Health
from gateway.security.access import Caller
from gateway.security.limits import Limits, LimitState
from gateway.serving.accounts import Account, Accounts
from gateway.serving.answer import AnswerMeta
from gateway.serving.answer_cache import LONGEST, AnswerCache, Kept, Ticket, kept_of, vectors_key
from gateway.serving.embed_batches import MOST, EmbedBatches
from gateway.serving.failover import Tries, follow
from gateway.serving.guarding import GuardRails, guards_line
from gateway.serving.replay import replayed

MOST_INPUTS = 2_048


class EmbeddingDeployments(Protocol):
    """Embedding models by their rows; see ``providers.directory``."""

    def embedding_model(self, provider: ProviderSpec, model: ModelSpec) -> EmbeddingModel: ...


class EmbedAnswer(Struct, frozen=True):
    """The vectors and the facts of the call."""

    embeddings: Embeddings
    meta: AnswerMeta


class EmbedService:
    """Answers ``EmbedRequest``s; one instance an event loop."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        deployments: EmbeddingDeployments,
        accounts: Accounts,
        limits: Limits,
        health: Health,
        cache: AnswerCache,
    ) -> None:
        self._catalogue = catalogue
        self._deployments = deployments
        self._accounts = accounts
        self._limits = limits
        self._health = health
        self._cache = cache
        self._batches = EmbedBatches()
        self._rails = GuardRails()

    async def embed(self, caller: Caller, request: EmbedRequest, call: CallContext) -> EmbedAnswer:
        """A vector for each input. Raises what the last attempt's error was."""
        catalogue = self._catalogue()
        spec = _admit(catalogue, caller, request)
        if call.selection is not None:
            refuse_selection(call.selection, spec.name)
        tokens = _bound(request) // 4
        async with self._limits.passing(caller, model=spec.name, tokens=tokens, of_model=spec.limits) as state:
            return await self._passed(catalogue, spec, caller, request, call, state)

    async def _passed(
        self,
        catalogue: Catalogue,
        spec: ModelSpec,
        caller: Caller,
        request: EmbedRequest,
        call: CallContext,
        state: LimitState,
    ) -> EmbedAnswer:
        """The answer from the cache or from the deployment."""
        notes: dict[str, Any] = {"config": catalogue.epoch}
        if spec.guards:
            request = await self._guarded(caller, spec, request, call, notes, state)
        ttl = spec.cache_seconds if call.cache_seconds is None else call.cache_seconds
        if not ttl:
            return await self._sent(catalogue, spec, caller, request, call, notes, state)
        ticket = await self._cache.join(vectors_key(caller, request, catalogue.epoch), min(ttl, LONGEST))
        if isinstance(ticket, Kept) and isinstance(ticket.value, Embeddings):
            self._limits.settle(state, 0)
            meta = await replayed(self._accounts, caller, call, catalogue, spec, ticket, notes, state)
            guards = guards_line(notes) if spec.guards else ""
            return EmbedAnswer(ticket.value, msgspec.structs.replace(meta, guards=guards))
        if not isinstance(ticket, Ticket):
            return await self._sent(catalogue, spec, caller, request, call, notes, state)
        try:
            answer = await self._sent(catalogue, spec, caller, request, call, notes, state)
            ticket.keep(kept_of(answer.embeddings, answer.meta))
            return answer
        finally:
            ticket.give_up()

    async def vectors(self, caller: Caller, model: str, texts: Sequence[str], call: CallContext) -> list[list[float]]:
        """Vectors that the gateway itself needs to answer a call: on the caller's account, in the ledger
        and the audit trail, but neither asked for by the caller nor counted against their requests."""
        catalogue = self._catalogue()
        spec = catalogue.model(model)
        own = msgspec.structs.replace(call, cause=f"{call.cause}:semantic", cache_seconds=0)
        request, notes = EmbedRequest(spec.name, tuple(texts)), dict[str, Any]()
        if spec.guards:
            request = await self._rails.guard_inputs(spec, request, notes)
        answer = await self._sent(catalogue, spec, caller, request, own, notes, None)
        return [_numbers(vector) for vector in answer.embeddings.vectors]

    async def _sent(
        self,
        catalogue: Catalogue,
        spec: ModelSpec,
        caller: Caller,
        request: EmbedRequest,
        call: CallContext,
        notes: dict[str, Any],
        state: LimitState | None,
    ) -> EmbedAnswer:
        """Reserves, asks the deployment, settles."""
        provider, bound, tries = catalogue.provider(spec.provider), _bound(request), Tries()
        card = card_for_llm(spec.name, provider.price_list, spec.upstream_model, spec.price, self._accounts.now())
        most, place = MOST.get(provider.type), (provider.name, spec.name, catalogue.epoch)

        async def attempt(_name: str, number: int) -> tuple[Account, Embeddings, int]:
            model = self._deployments.embedding_model(provider, spec)
            send = model.embed if most is None else partial(self._batches.embed, place, model, most)
            account = await self._accounts.open(
                caller,
                call if number == 1 else msgspec.structs.replace(call, cause=f"{call.cause}#{number}"),
                catalogue,
                spec,
                "llm",
                worst_case(card, input_tokens=bound, max_output_tokens=0, max_seconds=provider.timeouts.total),
                card.name,
                notes=notes,
                timed=bool(card.per_second),
            )
            started = time.perf_counter_ns()
            return account, await self._send(send, request, account, card, bound, started), started

        account, embeddings, started = await follow(
            (spec.name,),
            attempt,
            asked=spec,
            catalogue=catalogue,
            allowed=caller.may_use_model,
            health=self._health,
            tries=tries,
        )
        usage = _possible(embeddings.usage, bound)
        micros = _micros(started)
        settled = self._accounts.settle(
            account,
            cost=cost_llm(card, usage, seconds_micros=micros),
            micros=micros,
            usage=usage,
            upstream_model=embeddings.model or None,
        )
        if state is not None:
            self._limits.settle(state, usage.total_tokens)
        meta = AnswerMeta(
            request_id=call.request_id,
            model=spec.name,
            provider=spec.provider,
            upstream_model=embeddings.model or spec.upstream_model or spec.name,
            cost=settled.entry.cost,
            created=int(time.time()),
            attempts=tries.count,
            config_epoch=catalogue.epoch,
            entry_id=settled.entry.entry_id,
            latency_micros=micros,
            limits=state,
            flags=settled.flags,
            guards=guards_line(notes) if spec.guards else "",
        )
        return EmbedAnswer(msgspec.structs.replace(embeddings, usage=usage), meta)

    async def _guarded(
        self,
        caller: Caller,
        spec: ModelSpec,
        request: EmbedRequest,
        call: CallContext,
        notes: dict[str, Any],
        state: LimitState,
    ) -> EmbedRequest:
        """The request as the model's guards let it pass; a refusal is recorded."""
        try:
            return await self._rails.guard_inputs(spec, request, notes)
        except GatewayError as error:
            self._limits.settle(state, 0)
            refused = (caller, call, "llm", spec.name, error.code, notes)
            await asyncio.shield(asyncio.to_thread(self._accounts.refused, *refused))
            raise

    async def _send(
        self,
        send: Callable[[EmbedRequest], Awaitable[Embeddings]],
        request: EmbedRequest,
        account: Account,
        card: PriceCard,
        bound: int,
        started: int,
    ) -> Embeddings:
        try:
            return await send(request)
        except BaseException as error:
            micros, usage = _micros(started), _estimated(bound)
            cost = cost_llm(card, usage, seconds_micros=micros)
            self._accounts.fail(account, error, micros, usage, cost)
            if isinstance(error, Exception) and not isinstance(error, GatewayError):
                raise UpstreamError(f"the call to {request.model} failed ({type(error).__name__})") from error
            raise


def _admit(catalogue: Catalogue, caller: Caller, request: EmbedRequest) -> ModelSpec:
    caller.require("llm:execute")
    caller.require_model(request.model)
    spec = catalogue.model(request.model)
    if spec.type != "embedding":
        raise NotSupported(
            f"{spec.name} is a {spec.type} model, not an embedding model",
            mend="GET /models?type=embedding lists those that are",
            param="model",
        )
    if len(request.inputs) > MOST_INPUTS:
        raise ValidationFailed(f"input: at most {MOST_INPUTS} items a call", mend="send several calls", param="input")
    return spec


def _bound(request: EmbedRequest) -> int:
    """A number of tokens that the input surely does not pass: a token is at least one byte."""
    return sum(len(item.encode()) if isinstance(item, str) else len(item) for item in request.inputs) + 8


def _estimated(bound: int) -> Usage:
    return Usage(input_tokens=max(bound // 4, 1), basis="estimated")


def _possible(told: Usage, bound: int) -> Usage:
    """What was told, where it can be; else an estimate that says what was odd."""
    if told.basis == "none":
        return msgspec.structs.replace(_estimated(bound), odd=("usage_missing",))
    if 0 < told.input_tokens <= MOST_TOKENS:
        return told
    word = "absurd" if told.input_tokens > 0 else "negative" if told.input_tokens else "no"
    return msgspec.structs.replace(_estimated(bound), odd=(f"{word}_input_tokens",))


def _micros(started: int) -> int:
    return (time.perf_counter_ns() - started) // 1000


def _numbers(vector: str | list[float]) -> list[float]:
    """A vector as numbers, also where the provider writes base64 whatever it is asked."""
    if not isinstance(vector, str):
        return vector
    packed = array("f")
    packed.frombytes(base64.b64decode(vector))
    if byteorder == "big":
        packed.byteswap()
    return packed.tolist()
