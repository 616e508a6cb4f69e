"""The way of a chat to its answer: plan, reservation, provider, and the account of what failed or came too late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from gateway.clock import SECOND
from gateway.errors import BudgetExceeded, GatewayError, NoModelFits, NotSupported, UpstreamError
from gateway.governance.policy import has_media, output_tokens_bound, searches_bound
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import card_for_llm, cost_llm, worst_case
from gateway.ledger.savings import saved_by_call
from gateway.models.call import CallContext
from gateway.models.llm_models import COMPLETIONS, Chat, Message, TextPart, Usage
from gateway.models.selection import refuse_selection
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.routing.health import Health
from gateway.routing.learning import Standing
from gateway.routing.router import Ask, Plan, plan
from gateway.security.access import Caller
from gateway.serving.accounts import Accounts
from gateway.serving.chat_order import (
    Answered,
    Attempt,
    Order,
    Sent,
    chance,
    estimate,
    estimated,
    sticky_key,
    tier_of,
    tokens_saved,
    with_defaults,
)
from gateway.serving.degrading import told_budget, within_budget
from gateway.serving.failover import Tries, follow, race
from gateway.serving.selecting import USUAL_OUTPUT, Deployments, Selector
from gateway.serving.tokens import SILENCE, Said, TokenService
from gateway.serving.worked_out import Footing, Tariff

#: Price cards that are remembered: callers choose the names of service tiers.
_MOST_CARDS = 10_000


class ChatPath:
    """Takes admitted orders to an answer; one instance an event loop."""

    def __init__(
        self,
        deployments: Deployments,
        accounts: Accounts,
        health: Health,
        tokens: TokenService,
        standings: Callable[[], Mapping[str, Standing]],
    ) -> None:
        self.deployments = deployments
        self.tokens = tokens
        self._accounts = accounts
        self._health = health
        self._footings: dict[tuple[str, bool], Footing] = {}
        self._tariffs: dict[tuple[str, str], tuple[ModelSpec, ProviderSpec, int, Tariff]] = {}
        self._selector = Selector(deployments, accounts.now, standings)

    async def through(
        self,
        order: Order,
        send: Callable[[Attempt], Awaitable[Sent]],
        lose: Callable[[Attempt, Sent], Awaitable[None]],
    ) -> Answered[Sent]:
        """Follows the plan until an attempt is answered."""
        spec = order.spec
        try:
            route = self._planned(order)
        except NoModelFits as error:
            refused = (order.caller, order.call, "llm", spec.name, error.code, order.notes)
            await asyncio.shield(asyncio.to_thread(self._accounts.refused, *refused))
            raise
        tries = Tries()
        attempt = partial(self._attempt, order, route, send)
        along = (attempt, spec, order.catalogue, order.caller.may_use_model, self._health, tries)
        hedge = None if spec.route is None else spec.route.hedge_after
        try:
            if hedge is None or len(route.models) < 2:
                opened, sent = await follow(route.models, *along)
            else:
                both = race(route.models, hedge, lambda names: follow(names, *along), lambda lost: lose(*lost))
                opened, sent = await both
        except BudgetExceeded as refused:
            cheaper = within_budget(order.catalogue, spec, order.caller, refused, route.models)
            if not cheaper:
                raise
            opened, sent = await follow(cheaper, *along)
            reason = f"{opened.spec.name}: {told_budget(refused)} does not cover {spec.name}"
            return Answered(opened, sent, tries.count, reason)
        first = opened.spec.name == route.models[0]
        reason = route.reasons[0] if first else _reason(route, opened.spec.name, spec.name)
        return Answered(opened, sent, tries.count, reason)

    def explain(
        self,
        catalogue: Catalogue,
        caller: Caller,
        model: str,
        chat: Chat | None = None,
        *,
        draw: float | None = None,
        call: CallContext = CallContext("explain", "explain"),  # noqa: B008 - a frozen value
        notes: dict[str, Any] | None = None,
    ) -> Plan:
        """The plan of a call now, with its reasons; nothing is sent. ``draw`` (0 to 1) stands for chance;
        ``notes`` is given what the record of the call would have of it."""
        spec = catalogue.model(model)
        asked = Chat(model, (Message("user", (TextPart("…"),)),)) if chat is None else chat
        ask = self._ask(catalogue, caller, asked, call, {} if notes is None else notes, draw)
        return plan(spec.name, catalogue.models, caller.may_use_model, self._health, ask)

    def _planned(self, order: Order) -> Plan:
        catalogue, spec, caller = order.catalogue, order.spec, order.caller
        if order.alone is not None and order.call.selection is None and self._health.is_healthy(spec.name):
            return order.alone
        ask = self._ask(catalogue, caller, order.chat, order.call, order.notes, None)
        return plan(spec.name, catalogue.models, caller.may_use_model, self._health, ask)

    def _ask(
        self,
        catalogue: Catalogue,
        caller: Caller,
        chat: Chat,
        call: CallContext,
        notes: dict[str, Any],
        draw: float | None,
    ) -> Ask:
        """What of this chat decides its plan."""
        route = catalogue.models[chat.model].route
        if call.selection is not None and (route is None or route.strategy != "auto"):
            refuse_selection(call.selection, chat.model)
        if route is None:
            return Ask()
        draw = chance(chat, call, auto=route.strategy == "auto") if draw is None else draw
        if route.strategy == "auto":
            choice = self._selector.choose(catalogue, route, caller, chat, call, notes, draw)
            return Ask(chosen=choice.steps(chat.model))
        usage = Usage(estimate(chat), chat.max_tokens or USUAL_OUTPUT)

        def price(name: str) -> int | None:
            spec = catalogue.models[name]
            list_name = catalogue.provider(spec.provider).price_list
            try:
                card = card_for_llm(name, list_name, spec.upstream_model, spec.price, self._accounts.now())
            except GatewayError:
                return None
            return cost_llm(card, usage)

        return Ask(draw, sticky_key(route.sticky, chat, call), price)

    async def _attempt(
        self, order: Order, route: Plan, send: Callable[[Attempt], Awaitable[Sent]], name: str, number: int
    ) -> tuple[Attempt, Sent]:
        """One try: opened, sent, and its account closed where it fails."""
        attempt = await self._open(order, name, number, last=name not in route.models[:-1])
        try:
            return attempt, await send(attempt)
        except BaseException as error:
            self.close_failed(attempt, error)
            if isinstance(error, Exception) and not isinstance(error, GatewayError):
                raise UpstreamError(f"the call to {name} failed ({type(error).__name__})") from error
            raise

    async def _open(self, order: Order, name: str, number: int, *, last: bool) -> Attempt:
        """Checks that the deployment can carry the chat, then reserves its worst case."""
        catalogue, caller, call = order.catalogue, order.caller, order.call
        footing = self._footing(catalogue, name, completes=order.chat.dialect == COMPLETIONS)
        spec, provider, model = footing.spec, footing.provider, footing.model
        ready = with_defaults(order.chat, spec)
        dropped = model.dropped(ready)
        if dropped and call.strict:
            raise NotSupported(
                f"the provider of {spec.name} has no {', '.join(dropped)}",
                mend="leave it out, or do not ask for strictness",
                param=dropped[0],
            )
        tier = tier_of(ready, dropped) if ready.extra else ""
        tariff, bound = self._tariff(spec, provider, tier), order.bound
        card = tariff.card
        most = worst_case(
            card,
            input_tokens=bound if spec.count == "bytes" else await self._exact(provider, spec, ready),
            max_output_tokens=output_tokens_bound(ready.max_tokens, spec.max_output_tokens),
            n=ready.n,
            media=card.media and has_media(ready),
            max_seconds=provider.timeouts.total,
            searches=searches_bound(ready) if ready.native_only else 0,
        )
        if ready.max_tokens is None and most > 0:
            # What is reserved must bound what can come: a priced call always names its bound.
            ready = msgspec.structs.replace(ready, max_tokens=output_tokens_bound(None, spec.max_output_tokens))
        if number > 1:
            call = msgspec.structs.replace(call, cause=f"{call.cause}#{number}")
        account = await self._accounts.open(
            caller, call, catalogue, spec, "llm", most, card.name, notes=order.notes, timed=bool(card.per_second)
        )
        account.tariff = tariff
        if "selection" in order.notes or "tokens" in order.notes:
            account.saved = partial(saved_by_call, tariff.of, self._best(order, spec), tokens_saved(order) or 0)
        started = time.perf_counter_ns()
        return Attempt(spec, provider, model, ready, tariff, account, dropped, started, max(1, bound // 4), last)

    def _footing(self, catalogue: Catalogue, name: str, *, completes: bool) -> Footing:
        """``ProviderNotConfigured`` or ``NotSupported`` where it cannot be called so."""
        spec = catalogue.models[name]
        kept = self._footings.get((name, completes))
        if kept is not None and kept.spec is spec and kept.provider is catalogue.providers.get(spec.provider):
            return kept
        provider = catalogue.provider(spec.provider)
        make = self.deployments.completion_model if completes else self.deployments.language_model
        made = self._footings[name, completes] = Footing(spec, provider, make(provider, spec))
        return made

    def _tariff(self, spec: ModelSpec, provider: ProviderSpec, tier: str) -> Tariff:
        """What the deployment asks now for that service tier; looked up anew every second."""
        now = self._accounts.now()
        kept = self._tariffs.get((spec.name, tier))
        if kept is not None and kept[0] is spec and kept[1] is provider and kept[2] == now // SECOND:
            return kept[3]
        card = card_for_llm(spec.name, provider.price_list, spec.upstream_model, spec.price, now, service_tier=tier)
        if len(self._tariffs) > _MOST_CARDS:
            self._tariffs = {}
        tariff = Tariff(card, tier, partial(self._card, spec, provider))
        self._tariffs[spec.name, tier] = (spec, provider, now // SECOND, tariff)
        return tariff

    def _card(self, spec: ModelSpec, provider: ProviderSpec, tier: str) -> PriceCard:
        return self._tariff(spec, provider, tier).card

    def _best(self, order: Order, spec: ModelSpec) -> PriceCard | None:
        """The card of the candidate that was expected to be the best, where another is tried."""
        name = order.notes["selection"].get("best") if "selection" in order.notes else None
        if name is None or name == spec.name:
            return None
        best = order.catalogue.models[name]
        return self._card(best, order.catalogue.provider(best.provider), "")

    async def _exact(self, provider: ProviderSpec, spec: ModelSpec, chat: Chat) -> int:
        return await asyncio.to_thread(self.tokens.bound, provider.type, spec, chat)

    def used(self, attempt: Attempt, said: Said, told: Usage) -> Usage:
        """Usage of an attempt whose provider did not tell all of it; blocks."""
        spec, chat = attempt.spec, attempt.chat
        used = self.tokens.used(attempt.provider.type, spec, chat, said, told, attempt.input_estimate)
        return used if used.tier == told.tier else msgspec.structs.replace(used, tier=told.tier)

    def settle_lost(self, attempt: Attempt, usage: Usage, micros: int) -> None:
        """Charges an answer that came too late for a race: it was worked on all the same."""
        counted = usage if usage.basis != "none" else self.used(attempt, SILENCE, usage)
        cost = cost_llm(attempt.tariff.of(counted), counted, seconds_micros=micros)
        self._accounts.settle(attempt.account, cost=cost, micros=micros, usage=counted, outcome="cancelled")

    def close_failed(self, attempt: Attempt, error: BaseException) -> None:
        """Gives the reservation back, or charges by estimate what the provider may have done."""
        micros = (time.perf_counter_ns() - attempt.started) // 1000
        usage = estimated(attempt.input_estimate, 0)
        cost = cost_llm(attempt.tariff.card, usage, seconds_micros=micros)
        self._accounts.fail(attempt.account, error, micros, usage, cost)


def _reason(route: Plan, name: str, asked: str) -> str:
    """Why the deployment was tried."""
    for planned, reason in zip(route.models, route.reasons, strict=True):
        if planned == name:
            return reason
    return f"{name}: fallback of {asked}"
