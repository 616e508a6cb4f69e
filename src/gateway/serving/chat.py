"""The story of a chat: permission, limits, checks, reservation, plan, provider, settlement, record.

Every door comes through here. A call that fails before its provider can have worked gives its
reservation back; one that may have been worked on is charged by estimate and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from gateway.errors import GatewayError, NotSupported, UpstreamError, ValidationFailed
from gateway.governance.policy import check_chat, input_tokens_bound, output_tokens_bound
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import card_for_llm, cost_llm, worst_case
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Delta, LanguageModel, Reply, Usage
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.routing.health import Health
from gateway.routing.retry import judge
from gateway.routing.router import plan
from gateway.security.access import Caller
from gateway.security.limits import Limits, LimitState
from gateway.serving.accounts import Account, Accounts
from gateway.serving.answer import AnswerMeta
from gateway.serving.chat_stream import ChatStream

_PARAMETERS = (
    "temperature", "top_p", "max_tokens", "seed", "n", "presence_penalty", "frequency_penalty", "reasoning_effort"
)  # fmt: skip


class Deployed(LanguageModel, Protocol):
    """A language model that can say beforehand what of a chat it cannot carry."""

    def dropped(self, chat: Chat) -> tuple[str, ...]: ...


class Deployments(Protocol):
    """Language models by their rows; see ``providers.directory``."""

    def language_model(self, provider: ProviderSpec, model: ModelSpec) -> Deployed: ...


class ChatAnswer(Struct, frozen=True):
    """A whole answer and its facts."""

    reply: Reply
    meta: AnswerMeta


class Attempt(Struct, frozen=True):
    """One try at one deployment, ready to be sent: everything is checked and reserved."""

    spec: ModelSpec
    model: Deployed
    chat: Chat
    card: PriceCard
    account: Account
    dropped: tuple[str, ...]
    started: int
    input_estimate: int


class ChatService:
    """Answers chats; one instance an event loop."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        deployments: Deployments,
        accounts: Accounts,
        limits: Limits,
        health: Health,
    ) -> None:
        self._catalogue = catalogue
        self._deployments = deployments
        self._accounts = accounts
        self._limits = limits
        self._health = health

    async def complete(
        self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None
    ) -> ChatAnswer:
        """The whole answer. Raises what the plan's last error was."""

        async def send(attempt: Attempt) -> Reply:
            return await attempt.model.complete(attempt.chat)

        catalogue = self._catalogue()
        state, attempt, reply, tries = await self._through(catalogue, caller, chat, call, provider, send)
        usage = reply.usage if reply.usage.basis != "none" else _estimated(attempt.input_estimate, len(reply.text()))
        micros = (time.perf_counter_ns() - attempt.started) // 1000
        settled = await asyncio.shield(
            asyncio.to_thread(
                self._accounts.settle,
                attempt.account,
                cost=cost_llm(attempt.card, usage, seconds_micros=micros),
                micros=micros,
                usage=usage,
                upstream_model=reply.model or None,
            )
        )
        self._limits.settle(caller, attempt.input_estimate + _asked(attempt), usage.total_tokens)
        meta = _meta(catalogue, attempt, call, tries, state)
        return ChatAnswer(
            msgspec.structs.replace(reply, usage=usage),
            msgspec.structs.replace(
                meta,
                cost=settled.entry.cost,
                entry_id=settled.entry.entry_id,
                latency_micros=micros,
                flags=settled.flags,
                upstream_model=reply.model or meta.upstream_model,
            ),
        )

    async def stream(self, caller: Caller, chat: Chat, call: CallContext, *, provider: str | None = None) -> ChatStream:
        """Returns with the first piece that says something in hand: what fails before it raises here,
        what fails after it raises from the stream."""

        async def send(attempt: Attempt) -> tuple[AsyncIterator[Delta], list[Delta]]:
            pieces = attempt.model.stream(attempt.chat)
            begun: list[Delta] = []
            async for piece in pieces:
                begun.append(piece)
                if piece.says():
                    return pieces, begun
            raise UpstreamError("the provider's stream was empty", reached=True)

        catalogue = self._catalogue()
        state, attempt, (pieces, begun), tries = await self._through(catalogue, caller, chat, call, provider, send)
        return ChatStream(
            pieces,
            begun,
            attempt.account,
            self._accounts,
            price=lambda usage, micros: cost_llm(attempt.card, usage, seconds_micros=micros),
            meta=_meta(catalogue, attempt, call, tries, state),
            started=attempt.started,
            input_estimate=attempt.input_estimate,
            settled=lambda usage: self._limits.settle(
                caller, attempt.input_estimate + _asked(attempt), usage.total_tokens
            ),
        )

    # -- parts ------------------------------------------------------------------------------------

    async def _through(
        self,
        catalogue: Catalogue,
        caller: Caller,
        chat: Chat,
        call: CallContext,
        provider: str | None,
        send: Callable[[Attempt], Any],
    ) -> tuple[LimitState, Attempt, Any, int]:
        """Follows the plan until an attempt is answered: (limits, attempt, answer, number of tries)."""
        spec = self._admit(catalogue, caller, chat, provider)
        state = self._limits.take(caller, model=spec.name, tokens=_estimate(chat) + (chat.max_tokens or 0))
        route = plan(spec.name, catalogue.models, caller.may_use_model, self._health.is_healthy)
        total = 0
        problem: GatewayError | None = None
        for name in route.models:
            here = 0
            while True:
                here, total = here + 1, total + 1
                try:
                    attempt = await self._open(catalogue, catalogue.models[name], caller, chat, call, total)
                    answer = await self._send(attempt, send)
                except GatewayError as error:
                    most = catalogue.provider(catalogue.models[name].provider).max_attempts
                    verdict = judge(error, attempt=here, total=total, most_here=most)
                    problem = error
                    if verdict.counts:
                        self._health.failed(name)
                    if verdict.what == "stop":
                        raise
                    if verdict.what == "next":
                        break
                    await asyncio.sleep(verdict.pause)
                else:
                    self._health.succeeded(name)
                    return state, attempt, answer, total
        raise problem if problem is not None else NotSupported("no deployment can answer this")

    def _admit(self, catalogue: Catalogue, caller: Caller, chat: Chat, provider: str | None) -> ModelSpec:
        caller.require("llm:execute")
        caller.require_model(chat.model)
        spec = catalogue.model(chat.model)
        if spec.type != "llm":
            raise NotSupported(
                f"{spec.name} is a {spec.type} model, not a language model",
                mend="send it to /execute/ml" if spec.type != "embedding" else "",
                param="model",
            )
        if provider is not None and provider != spec.provider:
            raise ValidationFailed(
                f"{spec.name} is served by the provider {spec.provider!r}",
                mend=f'leave provider out, or write "{spec.provider}"',
                param="model_config.provider",
            )
        check_chat(chat)
        return spec

    async def _open(
        self, catalogue: Catalogue, spec: ModelSpec, caller: Caller, chat: Chat, call: CallContext, number: int
    ) -> Attempt:
        """Checks that the deployment can carry the chat, then reserves its worst case."""
        provider = catalogue.provider(spec.provider)
        ready = _with_defaults(chat, spec)
        model = self._deployments.language_model(provider, spec)
        dropped = model.dropped(ready)
        if dropped and call.strict:
            raise NotSupported(
                f"the provider of {spec.name} has no {', '.join(dropped)}",
                mend="leave it out, or do not ask for strictness",
                param=dropped[0],
            )
        card = card_for_llm(spec.name, provider.type, spec.upstream_model, spec.price, self._accounts.now())
        most = worst_case(
            card,
            input_tokens=input_tokens_bound(ready),
            max_output_tokens=output_tokens_bound(ready.max_tokens, spec.max_output_tokens),
            n=ready.n,
            max_seconds=provider.timeouts.total,
        )
        if ready.max_tokens is None and most > 0:
            # What is reserved must bound what can come: a priced call always names its bound.
            ready = msgspec.structs.replace(ready, max_tokens=output_tokens_bound(None, spec.max_output_tokens))
        cause = call.cause if number == 1 else f"{call.cause}#{number}"
        account = await asyncio.to_thread(
            self._accounts.open,
            caller,
            msgspec.structs.replace(call, cause=cause),
            catalogue,
            spec,
            "llm",
            most,
            card.name,
            ttl_seconds=int(provider.timeouts.total) + 60,
        )
        return Attempt(spec, model, ready, card, account, dropped, time.perf_counter_ns(), _estimate(ready))

    async def _send(self, attempt: Attempt, send: Callable[[Attempt], Any]) -> Any:
        try:
            return await send(attempt)
        except BaseException as error:
            micros = (time.perf_counter_ns() - attempt.started) // 1000
            await asyncio.shield(asyncio.to_thread(self._close_failed, attempt, error, micros))
            if isinstance(error, Exception) and not isinstance(error, GatewayError):
                raise UpstreamError(f"the call to {attempt.spec.name} failed ({type(error).__name__})") from error
            raise

    def _close_failed(self, attempt: Attempt, error: BaseException, micros: int) -> None:
        """Releases, or charges by estimate where the provider may have worked without telling."""
        code = error.code if isinstance(error, GatewayError) else "cancelled"
        answered = isinstance(error, GatewayError) and "upstream_status" in error.details
        reached = not isinstance(error, GatewayError) or bool(error.details.get("reached"))
        if answered or not reached:
            self._accounts.release(attempt.account, code, micros)
            return
        usage = _estimated(attempt.input_estimate, 0)
        cost = cost_llm(attempt.card, usage, seconds_micros=micros)
        self._accounts.settle(attempt.account, cost=cost, micros=micros, usage=usage, outcome=code)


def _with_defaults(chat: Chat, spec: ModelSpec) -> Chat:
    """The chat with the model's own parameters where the caller named none."""
    changes: dict[str, Any] = {
        name: spec.parameters[name]
        for name in _PARAMETERS
        if spec.parameters.get(name) is not None and getattr(chat, name) in (None, "")
    }
    most = changes.get("max_tokens", chat.max_tokens)
    if most is not None and spec.max_output_tokens is not None:
        changes["max_tokens"] = min(most, spec.max_output_tokens)
    return msgspec.structs.replace(chat, **changes) if changes else chat


def _estimate(chat: Chat) -> int:
    """About how many tokens the input has: for rate limits and, where a provider tells none, the ledger."""
    return max(1, input_tokens_bound(chat) // 4)


def _asked(attempt: Attempt) -> int:
    return attempt.chat.max_tokens or 0


def _estimated(input_tokens: int, characters: int) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=(characters + 3) // 4, basis="estimated")


def _meta(catalogue: Catalogue, attempt: Attempt, call: CallContext, tries: int, state: LimitState) -> AnswerMeta:
    return AnswerMeta(
        request_id=call.request_id,
        model=attempt.spec.name,
        provider=attempt.spec.provider,
        upstream_model=attempt.spec.upstream_model or attempt.spec.name,
        cost=0,
        attempts=tries,
        config_epoch=catalogue.epoch,
        dropped_params=attempt.dropped,
        limits=state,
    )
