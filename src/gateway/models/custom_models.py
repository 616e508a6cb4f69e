"""Models brought by others: how a Python package plugs its own into the gateway.

A package that declares the entry point group ``gateway.language_models`` or ``gateway.predictors``
is found by name from ``config/models.yaml`` (``provider: python``, ``upstream_model: NAME``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from gateway.errors import ConfigurationInvalid
from gateway.models.llm_models import LanguageModel
from gateway.models.ml_models import Predictor

LANGUAGE_MODELS = "gateway.language_models"
PREDICTORS = "gateway.predictors"


def load_language_model(name: str, options: Mapping[str, Any]) -> LanguageModel:
    """The language model that an installed package offers as ``name``; ``options`` go to its factory."""
    return cast(LanguageModel, _factory(LANGUAGE_MODELS, name)(**options))


def load_predictor(name: str, options: Mapping[str, Any]) -> Predictor:
    """The predictor that an installed package offers as ``name``; ``options`` go to its factory."""
    return cast(Predictor, _factory(PREDICTORS, name)(**options))


def _factory(group: str, name: str) -> Callable[..., object]:
    offered = {point.name: point for point in entry_points(group=group)}
    if name not in offered:
        raise ConfigurationInvalid(
            f"no installed package offers {name!r} in the entry point group {group!r}",
            mend=f"install the package that does; offered now: {', '.join(sorted(offered)) or 'none'}",
        )
    return cast(Callable[..., object], offered[name].load())
