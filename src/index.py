"""The public names of the gateway, for programs that have ``src`` on their path.

``from index import CostTracker`` imports what ``CostTracker`` needs and nothing else: each name is
fetched from its room when it is first asked for. An installed wheel offers the same names under
``gateway.<room>``; the table below says which.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gateway import __version__

if TYPE_CHECKING:
    from gateway.cli.main import main
    from gateway.engine.definition import WorkflowDefinition, parse_definition
    from gateway.engine.step_definition import StepDefinition
    from gateway.errors import BudgetExceeded, GatewayError, NotFound, RateLimited, UpstreamError, ValidationFailed
    from gateway.ledger.cost_tracker import CostTracker, Ledger
    from gateway.ledger.pricing import card_for_llm, card_for_ml, cost_llm, cost_ml, worst_case
    from gateway.models.artifacts import ArtifactRef, ArtifactStore
    from gateway.models.llm_models import Chat, Choice, Delta, LanguageModel, Message, Reply, Usage
    from gateway.models.ml_models import Features, ModelSchema, ModelVersion, Prediction, Predictor
    from gateway.registry.catalogue import Catalogue, ModelSpec, ProviderSpec
    from gateway.registry.loader import load_catalogue
    from gateway.registry.model_registry import ModelRegistry
    from gateway.settings import Settings

#: Each room, and the public names that live there.
_NAMES: dict[str, tuple[str, ...]] = {
    "gateway.cli.main": ("main",),
    "gateway.engine.definition": ("WorkflowDefinition", "parse_definition"),
    "gateway.engine.step_definition": ("StepDefinition",),
    "gateway.errors": (
        "BudgetExceeded",
        "GatewayError",
        "NotFound",
        "RateLimited",
        "UpstreamError",
        "ValidationFailed",
    ),
    "gateway.ledger.cost_tracker": ("CostTracker", "Ledger"),
    "gateway.ledger.pricing": ("card_for_llm", "card_for_ml", "cost_llm", "cost_ml", "worst_case"),
    "gateway.models.artifacts": ("ArtifactRef", "ArtifactStore"),
    "gateway.models.llm_models": ("Chat", "Choice", "Delta", "LanguageModel", "Message", "Reply", "Usage"),
    "gateway.models.ml_models": ("Features", "ModelSchema", "ModelVersion", "Prediction", "Predictor"),
    "gateway.registry.catalogue": ("Catalogue", "ModelSpec", "ProviderSpec"),
    "gateway.registry.loader": ("load_catalogue",),
    "gateway.registry.model_registry": ("ModelRegistry",),
    "gateway.settings": ("Settings",),
}
_ROOM_OF = {name: room for room, names in _NAMES.items() for name in names}

__all__ = [  # noqa: RUF022 - the order of the rooms above
    "__version__",
    "main",
    "WorkflowDefinition",
    "parse_definition",
    "StepDefinition",
    "BudgetExceeded",
    "GatewayError",
    "NotFound",
    "RateLimited",
    "UpstreamError",
    "ValidationFailed",
    "CostTracker",
    "Ledger",
    "card_for_llm",
    "card_for_ml",
    "cost_llm",
    "cost_ml",
    "worst_case",
    "ArtifactRef",
    "ArtifactStore",
    "Chat",
    "Choice",
    "Delta",
    "LanguageModel",
    "Message",
    "Reply",
    "Usage",
    "Features",
    "ModelSchema",
    "ModelVersion",
    "Prediction",
    "Predictor",
    "Catalogue",
    "ModelSpec",
    "ProviderSpec",
    "load_catalogue",
    "ModelRegistry",
    "Settings",
]


def __getattr__(name: str) -> object:
    """The public name ``name``, imported on first use. Raises ``AttributeError`` for any other."""
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'index' has no public name {name!r}")
    return getattr(import_module(room), name)


def __dir__() -> list[str]:
    return sorted(__all__)
