"""How the calls of one model name are shared out over deployments: what ``models.yaml`` says in ``route``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Strategy = Literal["priority", "weighted", "least_busy", "lowest_latency", "lowest_cost", "auto"]
STRATEGIES: tuple[str, ...] = Strategy.__args__  # type: ignore[attr-defined]


class Deployment(Struct, frozen=True):
    """A model that a route sends calls to. ``weight`` counts for ``weighted`` and among equals."""

    model: str
    weight: float = 1.0


class Weights(Struct, frozen=True):
    """What counts how much when ``auto`` chooses; see ``routing.selection``."""

    quality: float = 1.0
    cost: float = 0.3
    latency: float = 0.1


class Route(Struct, frozen=True):
    """A strategy over deployments.

    ``sticky``: equal sessions, or equal beginnings of the prompt, go to one deployment, so that the
    provider's prompt cache is hit. ``stream``: ``atomic`` holds an answer back until it is whole, so
    that another deployment can still take over. ``hedge_after`` seconds without an answer, a second
    deployment is asked beside the first. ``each_allowed``: who may use the route may use only those of
    its deployments that are open to them by name (the built-in ``auto``).
    """

    deployments: tuple[Deployment, ...]
    strategy: Strategy = "priority"
    sticky: Literal["none", "session", "prefix"] = "none"
    stream: Literal["live", "atomic"] = "live"
    hedge_after: float | None = None
    weights: Weights = Weights()
    each_allowed: bool = False
