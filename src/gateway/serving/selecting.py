"""Lays the deployments of a route of strategy ``auto`` before ``routing.selection``, and keeps its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.errors import GatewayError, ModelNotFound, NoModelFits
from gateway.governance.policy import input_tokens_bound, output_tokens_bound
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import card_for_llm, cost_llm, worst_case
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, ImagePart, ToolResultPart, ToolUsePart, Usage
from gateway.models.route import Route
from gateway.models.selection import NO_SELECTION
from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
from gateway.routing.learning import Standing
from gateway.routing.selection import Candidate, Choice, best_of, choose
from gateway.security.access import Caller
from gateway.serving.chat_order import with_defaults
from gateway.serving.worked_out import Deployed

#: Tokens that an answer is expected to have at most, when what calls cost is compared.
USUAL_OUTPUT = 256
#: Seconds for which a price card is looked up once.
_CARD_SECONDS = 60
_MOST_TOLD = 20


class Deployments(Protocol):
    """Language models by their rows; see ``providers.directory``."""

    def language_model(self, provider: ProviderSpec, model: ModelSpec) -> Deployed: ...

    def completion_model(self, provider: ProviderSpec, model: ModelSpec) -> Deployed: ...


class Selector:
    """Chooses for chats; one instance an event loop."""

    def __init__(
        self, deployments: Deployments, now: Callable[[], int], standings: Callable[[], Mapping[str, Standing]]
    ) -> None:
        self._deployments = deployments
        self._now = now
        self._standings = standings
        self._cards: dict[str, tuple[ModelSpec, int, PriceCard | None]] = {}

    def choose(
        self,
        catalogue: Catalogue,
        route: Route,
        caller: Caller,
        chat: Chat,
        call: CallContext,
        notes: dict[str, Any],
        draw: float | None,
    ) -> Choice:
        """The deployments to try, best first; noted. ``NoModelFits`` names why each of them cannot serve.

        ``draw`` (0 to 1) stands for chance; ``None``: nothing is explored. A deployment of the built-in
        ``auto`` that the caller may not use is not looked at, nor named.
        """
        selection = call.selection or NO_SELECTION
        names = [item.model for item in route.deployments if not route.each_allowed or caller.may_use_model(item.model)]
        if not names:
            raise ModelNotFound(
                "no language model is open to this key that could be chosen",
                mend="GET /models lists those you may use; an admin widens a key's model list",
                param="model",
            )
        needs = needs_of(chat) | frozenset(selection.needs)
        bound = input_tokens_bound(chat)
        known = self._standings()
        candidates = [self._candidate(catalogue, name, chat, bound, known.get(name)) for name in names]
        choice = choose(
            candidates,
            needs=needs,
            selection=selection,
            weights=route.weights,
            draw=draw,
            carries=lambda name: self._obstacle(catalogue, name, chat, strict=call.strict),
        )
        notes["selection"] = choice.note(needs, selection)
        if not choice.fitting:
            raise _nothing_fits(choice)
        notes["selection"]["best"] = best_of(candidates, choice)
        return choice

    def _candidate(
        self, catalogue: Catalogue, name: str, chat: Chat, bound: int, standing: Standing | None
    ) -> Candidate:
        spec = catalogue.models[name]
        provider = catalogue.provider(spec.provider)
        ready = with_defaults(chat, spec)
        card = self._card(provider, spec)
        expected = min(ready.max_tokens or USUAL_OUTPUT, USUAL_OUTPUT)
        most = output_tokens_bound(ready.max_tokens, spec.max_output_tokens)
        inputs = max(1, bound // 4)
        return Candidate(
            name=name,
            quality=spec.quality,
            capabilities=frozenset(spec.capabilities),
            window=spec.context_window,
            tokens=inputs + (ready.max_tokens or expected),
            cost=None if card is None else cost_llm(card, Usage(inputs, expected * ready.n)),
            worst=None
            if card is None
            else worst_case(
                card, input_tokens=bound, max_output_tokens=most, n=ready.n, max_seconds=provider.timeouts.total
            ),
            obstacle="" if provider.configured else f"its provider {provider.name} has no credential here",
            standing=standing or Standing(),
        )

    def _card(self, provider: ProviderSpec, spec: ModelSpec) -> PriceCard | None:
        now = self._now()
        kept = self._cards.get(spec.name)
        if kept is not None and kept[0] is spec and kept[1] > now:
            return kept[2]
        try:
            card: PriceCard | None = card_for_llm(spec.name, provider.price_list, spec.upstream_model, spec.price, now)
        except GatewayError:
            card = None
        self._cards[spec.name] = (spec, now + _CARD_SECONDS * 1_000_000, card)
        return card

    def _obstacle(self, catalogue: Catalogue, name: str, chat: Chat, *, strict: bool) -> str:
        """What of the chat the deployment's wire cannot carry; empty where it can carry all."""
        spec = catalogue.models[name]
        try:
            model = self._deployments.language_model(catalogue.provider(spec.provider), spec)
            dropped = model.dropped(with_defaults(chat, spec))
        except GatewayError as error:
            return error.message
        return f"its provider has no {', '.join(dropped)}" if strict and dropped else ""


def needs_of(chat: Chat) -> frozenset[str]:
    """What a model must be able to do for this chat, as far as the chat itself shows it."""
    needs = {"tools"} if chat.tools else set()
    for message in chat.messages:
        for part in message.parts:
            if isinstance(part, ImagePart):
                needs.add("vision")
            elif isinstance(part, (ToolUsePart, ToolResultPart)):
                needs.add("tools")
                if isinstance(part, ToolResultPart) and part.images:
                    needs.add("vision")
    if chat.response_format is not None and chat.response_format.kind != "text":
        needs.add("structured_output" if chat.response_format.kind == "json_schema" else "json_object")
    return frozenset(needs)


def _nothing_fits(choice: Choice) -> NoModelFits:
    told = [f"{name}: {reason}" for name, reason in choice.ruled_out.items()]
    more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return NoModelFits(
        "no model fits this request. " + "; ".join(told[:_MOST_TOLD]) + more,
        mend="loosen a limit, ask for less, or name a model",
        param="model",
        candidates=dict(choice.ruled_out),
    )
