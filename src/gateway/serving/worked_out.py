"""What is alike in many calls, worked out once: that a caller may call a model, how a deployment is called, and what
it charges now.

Each is of rows of one configuration, and is worked out anew by whoever finds that they are others now; the rest of a
configuration that has gone is kept by none. What is of a caller is kept by the caller, who is made anew with each
look-up of a key: a key that is changed or revoked takes it along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.errors import NotSupported
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import charged_by
from gateway.models.bound import Bound
from gateway.models.llm_models import Chat, LanguageModel, Usage
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue, ModelSpec, ProviderSpec
from gateway.routing.router import Plan
from gateway.security.access import Caller
from gateway.security.limits import binding


class Deployed(LanguageModel, Protocol):
    """A language model that can say beforehand what of a chat it cannot carry."""

    def dropped(self, chat: Chat) -> tuple[str, ...]: ...

    async def count_tokens(self, chat: Chat) -> int | None: ...


class Admission(Struct, frozen=True):
    """That a caller may call a language model, and what binds such calls in a minute and at once."""

    spec: ModelSpec
    bounds: Sequence[Bound]
    places: Sequence[Bound]
    #: The plan of a model that is its own deployment, and the only one; ``None`` where chats and moments decide.
    alone: Plan | None


def admission(catalogue: Catalogue, caller: Caller, model: str) -> Admission:
    """Raises ``PermissionDenied``, ``ModelNotFound`` or ``NotSupported`` where there is none."""
    kept: Admission | None = caller.worked_out.get(model)
    if kept is not None and kept.spec is catalogue.models.get(model):
        return kept
    caller.require("llm:execute")
    caller.require_model(model)
    spec = catalogue.model(model)
    if spec.type != "llm":
        raise NotSupported(
            f"{spec.name} is a {spec.type} model, not a language model",
            mend="" if spec.type in API_MODEL_TYPES else "send it to /execute/ml",
            param="model",
        )
    alone = None if spec.route is not None or spec.fallbacks else Plan((spec.name,), (f"{spec.name}: asked for",))
    made = caller.worked_out[model] = Admission(spec, *binding(caller, spec.limits), alone)
    return made


class Tariff(Struct, frozen=True):
    """What a call is charged by: the card of the service ``tier`` that is asked for, or of that it is answered by."""

    card: PriceCard
    tier: str
    by_tier: Callable[[str], PriceCard]

    def of(self, usage: Usage) -> PriceCard:
        """The card of an answer that used this."""
        return charged_by(self.card, self.tier, self.by_tier, usage) if usage.tier else self.card


class Footing(Struct, frozen=True):
    """How a deployment is called: its row, its provider's, and what speaks to it."""

    spec: ModelSpec
    provider: ProviderSpec
    model: Deployed
