"""The story of a chat: permission, limits, checks, reservation, plan, provider, settlement, record.

Every door comes through here. A call that fails before its provider can have worked gives its
reservation back; one that may have been worked on is charged by estimate and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec.structs import replace

from gateway.errors import GatewayError, NotSupported, ProviderNotConfigured, UpstreamError, ValidationFailed
from gateway.governance.policy import check_chat, input_tokens_bound
from gateway.ledger.pricing import cost_llm
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Delta, Message, Reply, TextPart, Usage
from gateway.models.tokens import TokenCount
from gateway.registry.catalogue import Catalogue, ModelSpec
from gateway.routing.health import Health
from gateway.routing.learning import Standing
from gateway.routing.retry import BROKEN
from gateway.routing.router import Plan
from gateway.security.access import Caller
from gateway.security.limits import Limits
from gateway.serving.accounts import Accounts
from gateway.serving.answer import AnswerMeta, ChatAnswer
from gateway.serving.answer_cache import LONGEST, AnswerCache, Kept, Ticket, cache_key, kept_of
from gateway.serving.chat_order import (
    Attempt,
    Order,
    Streamed,
    answer_meta,
    begin,
    estimate,
    tokens_saved,
)
from gateway.serving.chat_path import ChatPath
from gateway.serving.chat_stream import ChatStream, KeptStream
from gateway.serving.delta_flow import deltas_of
from gateway.serving.guarding import GuardRails, guards_line
from gateway.serving.repair import repaired
from gateway.serving.replay import replayed
from gateway.serving.selecting import Deployments
from gateway.serving.semantic_cache import SemanticCache
from gateway.serving.tokens import TokenService, flagged, said_by, untold
from gateway.serving.worked_out import Admission, admission

#: Ways of ending that make an answer worth keeping.
_KEPT = frozenset({"stop", "tool_use", "length"})


class ChatService:
    """Answers chats; one instance an event loop."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        deployments: Deployments,
        accounts: Accounts,
        limits: Limits,
        health: Health,
        cache: AnswerCache,
        tokens: TokenService,
        semantic: SemanticCache,
        standings: Callable[[], Mapping[str, Standing]],
    ) -> None:
        self._catalogue = catalogue
        self._path = ChatPath(deployments, accounts, health, tokens, standings)
        self._tokens = tokens
        self._accounts = accounts
        self._limits = limits
        self._health = health
        self._cache = cache
        self._semantic = semantic
        self._rails = GuardRails()

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer:
        """The whole answer. Raises what the plan's last error was."""
        order = await self._admitted(caller, chat, call, provider)
        try:
            if order.guard is None and not self._may_be_kept(order):
                return await self._once(order)
            answer = await self._answer(order)
            return answer if order.guard is None else ChatAnswer(order.guard.restored(answer.reply), answer.meta)
        finally:
            if order.limits.places:
                self._limits.release(order.limits)

    async def _answer(self, order: Order) -> ChatAnswer:
        """The answer from the cache or from a provider, still with placeholders."""
        ticket = await self._ticket(order, stream=False)
        if isinstance(ticket, Kept) and isinstance(ticket.value, Reply):
            return ChatAnswer(ticket.value, await self._replayed(order, ticket))
        if not isinstance(ticket, Ticket):
            return await self._complete(order)
        try:  # what is kept is read in full
            answer = await self._complete(replace(order, chat=replace(order.chat, relay=False)))
            if all(choice.finish in _KEPT for choice in answer.reply.choices):
                ticket.keep(kept_of(answer.reply, answer.meta))
            return answer
        finally:
            ticket.give_up()

    async def stream(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatStream | KeptStream:
        """Returns with the first piece that says something in hand: what fails before it raises here,
        what fails after it raises from the stream."""
        order = await self._admitted(caller, chat, call, provider)
        try:
            stream = await self._pieces(order)
        except BaseException:
            self._limits.release(order.limits)
            raise
        if isinstance(stream, KeptStream):  # all of it is in hand
            self._limits.release(order.limits)
        if order.guard is not None:
            stream.restore = order.guard.restore
        return stream

    async def _pieces(self, order: Order) -> ChatStream | KeptStream:
        """The pieces from the cache or from a provider, still with placeholders."""
        if order.guard is not None:
            order.guard.refuse_unreadable(order.chat)
        ticket = await self._ticket(order, stream=True)
        if isinstance(ticket, Kept) and isinstance(ticket.value, tuple):
            return KeptStream(ticket.value, await self._replayed(order, ticket))
        held = ticket if isinstance(ticket, Ticket) else None
        try:
            if order.guard is not None and order.guard.answered_whole(order.chat):
                return await self._whole(order, held)
            return await self._stream(order, held)
        except BaseException:
            if held is not None:
                held.give_up()
            raise

    async def _complete(self, order: Order) -> ChatAnswer:
        answer = await self._once(order)
        if order.guard is None or not order.guard.misfits:
            return answer
        return await repaired(order, answer, self._once)

    async def _whole(self, order: Order, ticket: Ticket | None) -> KeptStream:
        """A streamed answer that a guard has to see whole: asked for whole, and told in pieces."""
        answer = await self._complete(order)
        pieces, meta = deltas_of(answer.reply), answer.meta
        if ticket is not None:
            if all(choice.finish in _KEPT for choice in answer.reply.choices):
                ticket.keep(kept_of(pieces, meta))
            ticket.give_up()
        return KeptStream(pieces, meta)

    async def _once(self, order: Order) -> ChatAnswer:
        found = await self._path.through(order, _whole, self._lose)
        attempt, reply = found.attempt, found.sent
        reply, refusal = (reply, None) if order.guard is None else order.guard.checked(order.chat, reply)
        usage = reply.usage
        if untold(usage):
            usage = await self._counted(attempt, reply)
        tariff = attempt.tariff
        micros = (time.perf_counter_ns() - attempt.started) // 1000
        settled = self._accounts.settle(
            attempt.account,
            cost=cost_llm(tariff.of(usage) if usage.tier else tariff.card, usage, seconds_micros=micros),
            micros=micros,
            usage=usage,
            outcome="completed" if refusal is None else refusal.code,
            upstream_model=reply.model or None,
        )
        self._limits.settle(order.limits, order.spent + usage.input_tokens + usage.output_tokens)
        if refusal is not None:
            raise refusal
        entry = settled.entry
        meta = answer_meta(order, found, reply.model, entry.cost, entry.entry_id, micros, settled.flags)
        if not reply.created or usage is not reply.usage:
            reply = replace(reply, usage=usage, created=reply.created or meta.created)
        return ChatAnswer(reply, meta)

    async def _lose(self, attempt: Attempt, reply: Reply) -> None:
        """An answer that came too late for a race."""
        micros = (time.perf_counter_ns() - attempt.started) // 1000
        await asyncio.to_thread(self._path.settle_lost, attempt, reply.usage, micros)

    async def _counted(self, attempt: Attempt, reply: Reply) -> Usage:
        """What an answer used whose provider does not say. A caller who leaves meanwhile pays by estimate."""
        try:
            return await asyncio.to_thread(self._path.used, attempt, said_by(reply), flagged(reply.usage))
        except asyncio.CancelledError as error:
            self._path.close_failed(attempt, error)
            raise

    async def _stream(self, order: Order, ticket: Ticket | None) -> ChatStream:
        async def send(attempt: Attempt) -> Streamed:
            pieces = attempt.model.stream(attempt.chat)
            if order.guard is not None and order.guard.checks_pieces:
                pieces = order.guard.checked_pieces(pieces)
            return await begin(pieces, attempt.patience, whole=_is_atomic(order))

        async def lose(attempt: Attempt, lost: Streamed) -> None:
            close = getattr(lost.pieces, "aclose", None)
            if close is not None:
                await close()
            micros = (time.perf_counter_ns() - attempt.started) // 1000
            usage = next((piece.usage for piece in reversed(lost.begun) if piece.usage is not None), Usage())
            await asyncio.to_thread(self._path.settle_lost, attempt, usage, micros)

        found = await self._path.through(order, send, lose)
        attempt, meta = found.attempt, answer_meta(order, found)
        self._health.entered(attempt.spec.name)

        def settled(usage: Usage, outcome: str) -> None:
            self._health.left(attempt.spec.name)
            if outcome in BROKEN:
                self._health.failed(attempt.spec.name)
            self._limits.settle(order.limits, usage.total_tokens)

        return ChatStream(
            found.sent.pieces,
            found.sent.begun,
            attempt.account,
            self._accounts,
            price=lambda usage, micros: cost_llm(attempt.tariff.of(usage), usage, seconds_micros=micros),
            meta=meta,
            started=attempt.started,
            used=lambda said, told: self._path.used(attempt, said, told),
            settled=settled,
            over=lambda: self._limits.release(order.limits),
            keep=None if ticket is None else _keeper(ticket, meta),
        )

    async def count_tokens(self, caller: Caller, chat: Chat) -> TokenCount:
        """Tokens of the input: exactly by the model's own table, else by the provider's counter, else about how
        many. Costs nothing."""
        catalogue = self._catalogue()
        spec = self._admit(catalogue, caller, chat, None)
        async with self._limits.passing(caller, model=spec.name, tokens=0, of_model=spec.limits):
            if spec.guards:
                chat, _ = await self._rails.guard(spec, chat, {})
            chosen = catalogue.models[self.explain(caller, chat.model, chat).models[0]]
            provider = catalogue.provider(chosen.provider)
            own = await asyncio.to_thread(self._tokens.count, provider.type, chosen, chat)
            if own is not None and own.basis == "counted":
                return own
            try:
                counted = await self._path.deployments.language_model(provider, chosen).count_tokens(chat)
            except (UpstreamError, NotSupported, ProviderNotConfigured):
                if own is None:
                    raise
                return own  # by the table, which needs nobody
            if counted is not None:
                return TokenCount(counted, "provider")
            return own or TokenCount(estimate(chat), "estimated")

    async def count_text(self, caller: Caller, name: str, text: str) -> TokenCount:
        """Tokens of a bare text by the model's own table, else about how many."""
        catalogue = self._catalogue()
        asked = Chat(name, (Message("user", (TextPart(text),)),))
        spec = self._admit(catalogue, caller, asked, None)
        async with self._limits.passing(caller, model=spec.name, tokens=0, of_model=spec.limits):
            chosen = catalogue.models[self.explain(caller, name, asked).models[0]]
            provider = catalogue.provider(chosen.provider)
            own = await asyncio.to_thread(self._tokens.count_text, provider.type, chosen, text)
        return own or TokenCount(len(text.encode()) // 4 + 1, "estimated")

    async def preview(self, caller: Caller, chat: Chat, call: CallContext, asked: str) -> dict[str, Any]:
        """What the words of ``x-gateway-optimise`` would save of this chat; nothing is sent."""
        catalogue = self._catalogue()
        spec = self._admit(catalogue, caller, chat, None)
        notes: dict[str, Any] = {}
        await self._tokens.optimised(catalogue, spec, chat, replace(call, optimise=asked), notes)
        saved: dict[str, Any] = notes.get("tokens", {})
        return saved

    def explain(self, caller: Caller, model: str, chat: Chat | None = None, **circumstances: Any) -> Plan:
        """The plan of a call now, with its reasons; nothing is sent. See ``ChatPath.explain``."""
        caller.require_model(model)
        return self._path.explain(self._catalogue(), caller, model, chat, **circumstances)

    async def _admitted(self, caller: Caller, chat: Chat, call: CallContext, provider: str | None) -> Order:
        """Admits the call: permission, the shape of the chat, rate limits, and the guards of its model."""
        catalogue = self._catalogue()
        admitted = self._admission(catalogue, caller, chat, provider)
        spec = admitted.spec
        notes: dict[str, Any] = {**call.notes, "config": catalogue.epoch}
        if spec.optimise is not None or call.optimise:
            chat = await self._tokens.optimised(catalogue, spec, chat, call, notes)
        bound = input_tokens_bound(chat)
        tokens = max(1, bound // 4) + (chat.max_tokens or 0)
        state = self._limits.at_once(admitted.bounds, admitted.places, spec.name, tokens)
        if state is None:
            state = await self._limits.admit(caller, model=spec.name, tokens=tokens, of_model=spec.limits)
        order = Order(catalogue, spec, caller, chat, call, state, notes, None, bound, 0, admitted.alone)
        if not spec.guards:
            return order
        try:
            return await self._guarded(order)
        except BaseException:
            self._limits.release(state)
            raise

    async def _guarded(self, order: Order) -> Order:
        """The order with its chat as the guards of its model let it pass; a refusal is on record."""
        try:
            ready, guard = await self._rails.guard(order.spec, order.chat, order.notes)
        except GatewayError as error:
            self._limits.settle(order.limits, 0)
            refused = (order.caller, order.call, "llm", order.spec.name, error.code, order.notes)
            await asyncio.shield(asyncio.to_thread(self._accounts.refused, *refused))
            raise
        bound = input_tokens_bound(ready)
        return replace(order, chat=replace(ready, relay=False), guard=guard, bound=bound)

    # -- parts ------------------------------------------------------------------------------------

    def admitted(self, caller: Caller, chat: Chat) -> tuple[Catalogue, ModelSpec]:
        """The configuration and the model of a chat that may be asked; nothing is taken of any limit."""
        catalogue = self._catalogue()
        return catalogue, self._admit(catalogue, caller, chat, None)

    def _may_be_kept(self, order: Order) -> bool:
        """Whether the cache, of whatever kind, has any part in the call."""
        call, spec = order.call, order.spec
        seconds = spec.cache_seconds if call.cache_seconds is None else call.cache_seconds
        return bool(seconds) or spec.semantic_cache is not None or call.semantic

    async def _ticket(self, order: Order, *, stream: bool) -> Kept | Ticket | None:
        """The kept answer, or the ticket to produce one; ``None`` where nothing is to be kept."""
        call, spec = order.call, order.spec
        ttl = spec.cache_seconds if call.cache_seconds is None else call.cache_seconds
        alike = self._semantic.rule(order) if spec.semantic_cache is not None or call.semantic else None
        if call.selection is not None:
            alike = None  # the choice within other limits might be another
        if alike is not None:
            ttl = ttl or alike.ttl
        if not ttl:
            return None
        key = cache_key(order.caller, order.chat, order.catalogue.epoch, stream=stream)
        if order.call.selection is not None:
            key += repr(order.call.selection)  # what was chosen within other limits is no answer within these
        found = await self._cache.join(key, min(ttl, LONGEST))
        if alike is None or isinstance(found, Kept):
            return found
        return await self._semantic.join(order, alike, found, stream=stream)

    async def _replayed(self, order: Order, kept: Kept) -> AnswerMeta:
        """An answer from the cache has its entry too, at nothing."""
        meta = await replayed(
            self._accounts, order.caller, order.call, order.catalogue, order.spec, kept, order.notes, order.limits
        )
        self._limits.settle(order.limits, 0)
        guards = guards_line(order.notes) if order.guard is not None else ""
        return replace(meta, guards=guards, tokens_saved=tokens_saved(order))

    def _admit(self, catalogue: Catalogue, caller: Caller, chat: Chat, provider: str | None) -> ModelSpec:
        return self._admission(catalogue, caller, chat, provider).spec

    def _admission(self, catalogue: Catalogue, caller: Caller, chat: Chat, provider: str | None) -> Admission:
        found = admission(catalogue, caller, chat.model)
        spec = found.spec
        if provider is not None and provider != spec.provider and spec.route is None:
            raise ValidationFailed(
                f"{spec.name} is served by the provider {spec.provider!r}",
                mend=f'leave provider out, or write "{spec.provider}"',
                param="model_config.provider",
            )
        check_chat(chat)
        return found


def _whole(attempt: Attempt) -> Awaitable[Reply]:
    return attempt.model.complete(attempt.chat)


def _keeper(ticket: Ticket, meta: AnswerMeta) -> Callable[[tuple[Delta, ...] | None], None]:
    """What a stream calls at its end, with its pieces where it ended well."""

    def keep(pieces: tuple[Delta, ...] | None) -> None:
        finishes = [piece.finish for piece in pieces or () if piece.finish is not None]
        if pieces is not None and finishes and all(finish in _KEPT for finish in finishes):
            ticket.keep(kept_of(pieces, meta))
        ticket.give_up()

    return keep


def _is_atomic(order: Order) -> bool:
    route = order.spec.route
    return route is not None and route.stream == "atomic"
