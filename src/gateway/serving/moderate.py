"""The story of a moderation: the path of every call, to one deployment; judgements of two models are not the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from gateway.errors import GatewayError, NotSupported, UpstreamError
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import card_for_llm, cost_llm, worst_case
from gateway.models.call import CallContext
from gateway.models.llm_models import Usage
from gateway.models.moderation_models import Moderation, ModerationModel, ModerationRequest
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.routing.health import Health
from gateway.security.access import Caller
from gateway.security.limits import Limits, LimitState
from gateway.serving.accounts import Account, Accounts
from gateway.serving.answer import AnswerMeta
from gateway.serving.failover import Tries, follow


class ModerationDeployments(Protocol):
    """Moderation models by their rows; see ``providers.directory``."""

    def moderation_model(self, provider: ProviderSpec, model: ModelSpec) -> ModerationModel: ...


class ModerationAnswer(Struct, frozen=True):
    """The judgements and the facts of the call."""

    moderation: Moderation
    meta: AnswerMeta


class ModerateService:
    """Answers ``ModerationRequest``s; one instance an event loop."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        deployments: ModerationDeployments,
        accounts: Accounts,
        limits: Limits,
        health: Health,
    ) -> None:
        self._catalogue = catalogue
        self._deployments = deployments
        self._accounts = accounts
        self._limits = limits
        self._health = health

    async def moderate(self, caller: Caller, request: ModerationRequest, call: CallContext) -> ModerationAnswer:
        """The judgements. Raises what the last attempt's error was."""
        catalogue = self._catalogue()
        spec = _admit(catalogue, caller, request)
        tokens = _bound(request) // 4
        async with self._limits.passing(caller, model=spec.name, tokens=tokens, of_model=spec.limits) as state:
            return await self._passed(catalogue, spec, caller, request, call, state)

    async def _passed(
        self,
        catalogue: Catalogue,
        spec: ModelSpec,
        caller: Caller,
        request: ModerationRequest,
        call: CallContext,
        state: LimitState,
    ) -> ModerationAnswer:
        """The answer of the deployment."""
        provider, bound = catalogue.provider(spec.provider), _bound(request)
        card = card_for_llm(spec.name, provider.price_list, spec.upstream_model, spec.price, self._accounts.now())
        tries = Tries()

        async def attempt(_name: str, number: int) -> tuple[Account, Moderation, int]:
            model = self._deployments.moderation_model(provider, spec)
            account = await self._accounts.open(
                caller,
                call if number == 1 else msgspec.structs.replace(call, cause=f"{call.cause}#{number}"),
                catalogue,
                spec,
                "llm",
                worst_case(card, input_tokens=bound, max_output_tokens=0, max_seconds=provider.timeouts.total),
                card.name,
                timed=bool(card.per_second),
            )
            started = time.perf_counter_ns()
            return account, await self._send(model, request, account, card, started), started

        account, moderation, started = await follow(
            (spec.name,),
            attempt,
            asked=spec,
            catalogue=catalogue,
            allowed=caller.may_use_model,
            health=self._health,
            tries=tries,
        )
        micros, usage = _micros(started), _usage(request)
        settled = self._accounts.settle(
            account,
            cost=cost_llm(card, usage, seconds_micros=micros),
            micros=micros,
            usage=usage,
            upstream_model=moderation.model or None,
        )
        self._limits.settle(state, usage.total_tokens)
        meta = AnswerMeta(
            request_id=call.request_id,
            model=spec.name,
            provider=spec.provider,
            upstream_model=moderation.model or spec.upstream_model or spec.name,
            cost=settled.entry.cost,
            attempts=tries.count,
            config_epoch=catalogue.epoch,
            entry_id=settled.entry.entry_id,
            latency_micros=micros,
            limits=state,
            flags=settled.flags,
        )
        return ModerationAnswer(moderation, meta)

    async def _send(
        self, model: ModerationModel, request: ModerationRequest, account: Account, card: PriceCard, started: int
    ) -> Moderation:
        try:
            return await model.moderate(request)
        except BaseException as error:
            micros, usage = _micros(started), _usage(request)
            cost = cost_llm(card, usage, seconds_micros=micros)
            self._accounts.fail(account, error, micros, usage, cost)
            if isinstance(error, Exception) and not isinstance(error, GatewayError):
                raise UpstreamError(f"the call to {request.model} failed ({type(error).__name__})") from error
            raise


def _admit(catalogue: Catalogue, caller: Caller, request: ModerationRequest) -> ModelSpec:
    caller.require("llm:execute")
    caller.require_model(request.model)
    spec = catalogue.model(request.model)
    if spec.type != "moderation":
        raise NotSupported(
            f"{spec.name} is a {spec.type} model, not a moderation model",
            mend="GET /models?type=moderation lists those that are",
            param="model",
        )
    return spec


def _bound(request: ModerationRequest) -> int:
    """A number of tokens that the texts surely do not pass: a token is at least one byte."""
    return sum(len(text.encode()) for text in _texts(request.input)) + 8


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item if isinstance(item, str) else str(item.get("text", "")) for item in value]


def _usage(request: ModerationRequest) -> Usage:
    """No provider counts moderations, so the gateway estimates."""
    return Usage(input_tokens=max(_bound(request) // 4, 1), basis="estimated")


def _micros(started: int) -> int:
    return (time.perf_counter_ns() - started) // 1000
