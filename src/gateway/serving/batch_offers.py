"""Chats that go by a provider's batch API: who may, at which price, and what is set aside for them.

The worst case of each is set aside at the batch price until its answer is here, which may take a day; it is set
aside in the name of who asks, not of this process, so it outlives every process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from gateway.clock import Clock
from gateway.errors import BudgetExceeded, GatewayError, NotSupported, UpstreamError, UpstreamRejected
from gateway.governance.policy import input_tokens_bound, output_tokens_bound
from gateway.ids import new_id
from gateway.ledger.batch_price import batch_cards
from gateway.ledger.entry import Charge
from gateway.ledger.pricing import worst_case
from gateway.models.batch_models import BatchApi
from gateway.models.call import CallContext
from gateway.models.llm_models import ANSWER_TOOL, Chat, Reply
from gateway.registry.catalogue import BATCH_PROVIDER_TYPES, Catalogue, ModelSpec, ProviderSpec
from gateway.security.access import Caller
from gateway.serving.chat import ChatService
from gateway.serving.chat_order import estimate, with_defaults
from gateway.serving.tokens import TokenService
from gateway.store.provider_batch_money import SqlBatchMoney
from gateway.store.provider_batch_store import MOST_BYTES, Ask, Terms

#: How long a request waits for what other processes have set aside of a budget and do not use.
_PATIENCE_SECONDS = 3.0
_PAUSE_SECONDS = 0.5
#: Why a chat cannot go by a provider's batch API, in words.
REASONS = {
    "asked": "the batch asks for the usual path",
    "model": "the model's row says batch: inline",
    "route": "the model is a route over several deployments",
    "tools": f"a tool has the name {ANSWER_TOOL}, which stands for an answer to a schema there",
    "guards": "the model has guards, which read and restore an answer within one call",
    "no_batch_api": "no batch API is known of the model's provider",
    "not_configured": "the model's provider has no credential here",
    "price_unknown": "no batch price is known of the model",
    "too_large": "the request is larger than a part of a batch",
    "endpoint": "requests of this kind go by no batch API here",
    "refused": "the provider's batch API refused the batch",
}


class BatchApis(Protocol):
    """Batch APIs by catalogue row; see ``providers.directory``."""

    def batch_api(self, provider: ProviderSpec, model: ModelSpec) -> BatchApi: ...


class BatchOffers:
    """Takes chats for the batch APIs of their providers; one an event loop."""

    def __init__(
        self,
        chat: ChatService,
        catalogue: Callable[[], Catalogue],
        apis: BatchApis,
        tokens: TokenService,
        money: SqlBatchMoney,
        clock: Clock,
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._chat = chat
        self._apis = apis
        self._tokens = tokens
        self._money = money
        self._patient_until = 0.0

    async def offer(
        self, caller: Caller, chat: Chat, call: CallContext, *, owner: str, line: int, gathering: str
    ) -> str | None:
        """Sets the worst case aside and keeps the chat for its provider's batch API; ``None`` then, else the
        reason (of ``REASONS``) why it cannot go there.

        Raises what any call would: no permission, no such model, ``BudgetExceeded``.
        """
        catalogue, spec = self._chat.admitted(caller, chat)
        provider = catalogue.provider(spec.provider)
        reason = way_closed(spec, provider)
        if reason is not None:
            return reason
        if provider.type == "anthropic" and any(tool.name == ANSWER_TOOL for tool in chat.tools):
            return "tools"  # nobody could tell its calls from answers when they come back
        cards = batch_cards(spec.name, provider.price_list, spec.upstream_model, spec.price, self._clock.now())
        if cards is None:
            return "price_unknown"
        card, full = cards
        notes: dict[str, Any] = {**call.notes, "config": catalogue.epoch}
        if spec.optimise is not None or call.optimise:
            chat = await self._tokens.optimised(catalogue, spec, chat, call, notes)
        ready = with_defaults(chat, spec)
        ready = msgspec.structs.replace(ready, max_tokens=output_tokens_bound(ready.max_tokens, spec.max_output_tokens))
        body, dropped = self._apis.batch_api(provider, spec).encode(ready)
        if dropped and call.strict:
            raise NotSupported(
                f"the provider of {spec.name} has no {', '.join(dropped)}", mend="leave it out", param=dropped[0]
            )
        if dropped:
            notes["dropped_params"] = list(dropped)
        if len(body) > MOST_BYTES:
            return "too_large"
        most = worst_case(
            card,
            input_tokens=input_tokens_bound(ready)
            if spec.count == "bytes"
            else await asyncio.to_thread(self._tokens.bound, provider.type, spec, ready),
            max_output_tokens=output_tokens_bound(ready.max_tokens, spec.max_output_tokens),
            n=ready.n,
        )
        ask = Ask(
            ask_id=new_id("ask"),
            owner=owner,
            line=line,
            gathering=gathering,
            provider=provider.name,
            model=spec.name,
            hold_id=new_id("hold"),
            amount=most,
            terms=Terms(_charge(caller, call, catalogue, spec), call.door, card, full, estimate(ready), notes),
            body=body.decode(),
        )
        await self._keep(ask)
        return None

    def reply(self, ask: Ask) -> Reply:
        """The answer of a request that is done and has one."""
        return batch_api_of(self._catalogue(), self._apis, ask.provider, ask.model).decode((ask.answer or "").encode())

    async def _keep(self, ask: Ask) -> None:
        """What other processes do not use of a budget comes back within a second or two: the first that is
        refused waits for it, and those after it do not wait again."""
        while True:
            try:
                await asyncio.to_thread(self._money.keep, ask)
                return
            except BudgetExceeded:
                now = time.monotonic()
                if self._patient_until == 0.0:
                    self._patient_until = now + _PATIENCE_SECONDS
                if now >= self._patient_until:
                    if now >= self._patient_until + 10 * _PATIENCE_SECONDS:
                        self._patient_until = 0.0
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)


def batch_api_of(catalogue: Catalogue, apis: BatchApis, provider: str, model: str) -> BatchApi:
    """The batch API that a request went to; its model's row may be gone since."""
    spec = catalogue.models.get(model) or ModelSpec(model, "llm", provider)
    return apis.batch_api(catalogue.provider(provider), spec)


def way_closed(spec: ModelSpec, provider: ProviderSpec) -> str | None:
    """Why no chat of this model can go by its provider's batch API, whatever it says."""
    if spec.batch == "inline":
        return "model"
    if spec.route is not None:
        return "route"
    if provider.type not in BATCH_PROVIDER_TYPES:
        return "no_batch_api"
    if not provider.configured:
        return "not_configured"
    return "guards" if spec.guards else None


def refusal(reason: str, param: str) -> GatewayError:
    """The error of who insists on a provider's batch API where there is no way to it."""
    return NotSupported(
        f"{param}: this cannot go by a provider's batch API: {REASONS[reason]}",
        mend="leave it out, or name another model",
        param=param,
        reason=reason,
    )


def problem_of(provider: str, told: Mapping[str, Any]) -> UpstreamError:
    """A provider's own error for one request of a batch, as ``BatchSettling`` kept it."""
    status = int(told.get("status") or 0)
    kind = UpstreamRejected if 400 <= status < 500 else UpstreamError
    return kind(f"{provider} in its batch: {told.get('message')}", provider=provider, upstream_code=told.get("code"))


def _charge(caller: Caller, call: CallContext, catalogue: Catalogue, spec: ModelSpec) -> Charge:
    return Charge(
        cause=call.cause,
        kind="llm",
        principal=caller.principal,
        key_id=caller.key_id,
        team=caller.team,
        model=spec.name,
        provider=spec.provider,
        upstream_model=spec.upstream_model or spec.name,
        workflow_id=call.workflow_id,
        run_id=call.run_id,
        task_id=call.task_id,
        request_id=call.request_id,
        config_epoch=catalogue.epoch,
        tags=call.tags,
        within=call.within,
    )
