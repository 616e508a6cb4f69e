"""What rows of ``models.yaml`` say for ``strategy: auto``, and the built-in ``auto`` where no row has that name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.models.guard import GuardSpec
from gateway.models.route import Deployment, Route, Weights
from gateway.models.selection import CAPABILITIES
from gateway.registry.catalogue import ModelSpec, ProviderSpec
from gateway.registry.yaml_lines import Document, Path_

AUTO = "auto"
_WEIGHTS = ("quality", "cost", "latency")


def read_quality(document: Document, model: Path_, raw: Mapping[str, Any]) -> float | None:
    """``quality`` of a deployment, 0 to 1; ``None``: not declared."""
    value, path = raw.get("quality"), (*model, "quality")
    if value is None:
        return None
    _of_deployment(document, path, raw)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise document.wrong(path, "a number from 0 to 1 is expected here")
    return float(value)


def read_capabilities(document: Document, model: Path_, raw: Mapping[str, Any]) -> tuple[str, ...]:
    """``capabilities`` of a deployment: what is not declared is not assumed."""
    value, path = raw.get("capabilities"), (*model, "capabilities")
    if value is None:
        return ()
    _of_deployment(document, path, raw)
    if not isinstance(value, list) or not all(item in CAPABILITIES for item in value):
        raise document.wrong(path, "a list of known words is expected here", f"known: {', '.join(CAPABILITIES)}")
    return tuple(dict.fromkeys(value))


def read_weights(document: Document, route: Path_, given: Mapping[str, Any]) -> Weights:
    """``weights`` of a route of strategy ``auto``, which takes no ``sticky``: each request is chosen for."""
    chosen = given.get("strategy") == AUTO
    if chosen and given.get("sticky", "none") != "none":
        raise document.wrong((*route, "sticky"), "a route of strategy auto chooses by the request: it sticks to none")
    value, path = given.get("weights"), (*route, "weights")
    if value is None:
        return Weights()
    if not chosen:
        raise document.wrong(path, "only strategy auto weighs", "leave it out")
    if not isinstance(value, dict) or not set(value) <= set(_WEIGHTS):
        raise document.wrong(path, f"an object of {', '.join(_WEIGHTS)} is expected here")
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1000:
            raise document.wrong((*path, name), "a number from 0 to 1000 is expected here")
    return Weights(**{name: float(weight) for name, weight in value.items()})


def check_fallbacks(document: Document, models: Mapping[str, ModelSpec]) -> None:
    """A fallback is a model that is named: none that is still to be chosen."""
    for name, spec in models.items():
        for fallback in (*spec.fallbacks, *(item for names in spec.fallbacks_on.values() for item in names)):
            route = models[fallback].route
            if route is not None and route.strategy == AUTO:
                what = f"{fallback!r} is chosen for a request: it is no fallback"
                raise document.wrong(("models", name, "fallbacks"), what, "name the models themselves")


def with_auto(
    models: Mapping[str, ModelSpec], providers: Mapping[str, ProviderSpec], guards: tuple[GuardSpec, ...]
) -> dict[str, ModelSpec]:
    """The models, and a built-in ``auto`` over every language model unless a row has that name."""
    deployments = [spec for spec in models.values() if spec.type == "llm" and spec.route is None]
    if AUTO in models or not deployments:
        return dict(models)
    ready = [spec for spec in deployments if providers[spec.provider].configured]
    auto = ModelSpec(
        name=AUTO,
        type="llm",
        provider=(ready or deployments)[0].provider,
        route=Route(tuple(Deployment(spec.name) for spec in deployments), strategy="auto", each_allowed=True),
        guards=guards,
        description="The language model that fits a request best, of those that are open to its key.",
    )
    return {**models, AUTO: auto}


def _of_deployment(document: Document, path: Path_, raw: Mapping[str, Any]) -> None:
    if raw.get("type") != "llm" or "route" in raw:
        raise document.wrong(path, "only a language model without a route has it", "say it of its deployments")
