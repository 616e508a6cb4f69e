"""Which deployments answer for a model, in which order, and why. Pure: the same input, the same plan.

A model of ``models.yaml`` is its own deployment, or a *route* over others with a strategy. Chance
comes in with the request (``draw``), so that a plan can be explained and repeated.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.models.route import Deployment, Route

#: The share of calls by which ``lowest_latency`` looks at what it knows least of.
EXPLORE = 0.05


class Target(Protocol):
    """The part of a model's row that routing reads."""

    @property
    def name(self) -> str: ...

    @property
    def fallbacks(self) -> tuple[str, ...]: ...

    @property
    def route(self) -> Route | None: ...


class Conditions(Protocol):
    """What is known of the deployments now; see ``routing.health.Health``."""

    def is_healthy(self, name: str) -> bool: ...

    def busy(self, name: str) -> int: ...

    def latency(self, name: str) -> float | None: ...


class Ask(Struct, frozen=True):
    """What of a request decides: a ``draw`` from 0 to 1, the key it sticks by, each model's price for it
    (``None``: unknown, the dearest), and for a route of strategy ``auto`` what ``routing.selection``
    chose, each deployment with its reason."""

    draw: float = 0.0
    sticky_key: str = ""
    price: Callable[[str], int | None] = lambda _name: None
    chosen: Sequence[tuple[str, str]] = ()


class Plan(Struct, frozen=True):
    """Model names in the order they are to be tried, and a reason for each."""

    models: tuple[str, ...]
    reasons: tuple[str, ...]


def plan(
    model: str,
    models: Mapping[str, Target],
    allowed: Callable[[str], bool],
    conditions: Conditions,
    ask: Ask = Ask(),  # noqa: B008 - a frozen value
) -> Plan:
    """The model (or the deployments of its route), then its fallbacks that the caller may use; the
    unhealthy go last.

    Who may use a route may use its deployments. A fallback is one only here: its own fallbacks do
    not count.
    """
    reasons: dict[str, str] = {}
    for name in dict.fromkeys((model, *models[model].fallbacks)):
        if name != model and not allowed(name):
            continue
        role = "asked for" if name == model else f"fallback of {model}"
        for deployment, why in _deployments(name, models, conditions, ask):
            reasons.setdefault(deployment, role + (f", {why}" if why else ""))
    up = [name for name in reasons if conditions.is_healthy(name)]
    down = [name for name in reasons if name not in up]
    told = [f"{name}: {reasons[name]}" for name in up]
    told += [f"{name}: {reasons[name]}, its last calls failed" for name in down]
    return Plan((*up, *down), tuple(told))


def _deployments(
    name: str, models: Mapping[str, Target], conditions: Conditions, ask: Ask
) -> Sequence[tuple[str, str]]:
    """The deployments of one name in the order of its route's strategy, each with the reason."""
    route = models[name].route
    if route is None:
        return [(name, "")]
    if route.strategy == "auto":
        return ask.chosen
    if route.sticky != "none" and ask.sticky_key:
        ordered = _shared(route.deployments, ask.sticky_key)
        return [(item.model, f"of {name}, sticky by {route.sticky}") for item in ordered]
    if route.strategy == "priority":
        return [(item.model, f"of {name}, priority {at}") for at, item in enumerate(route.deployments, 1)]
    ordered = _shared(route.deployments, f"{ask.draw:.17g}")
    if route.strategy == "weighted":
        total = sum(item.weight for item in ordered)
        return [(item.model, f"of {name}, weight {item.weight:g} of {total:g}") for item in ordered]
    if route.strategy == "least_busy":
        by_load = sorted(ordered, key=lambda item: conditions.busy(item.model) / item.weight)
        return [(item.model, f"of {name}, {conditions.busy(item.model)} calls under way") for item in by_load]
    if route.strategy == "lowest_cost":
        return _by_cost(name, ordered, ask)
    return _by_latency(name, ordered, conditions, explore=ask.draw < EXPLORE)


def _by_cost(name: str, ordered: Sequence[Deployment], ask: Ask) -> list[tuple[str, str]]:
    prices = {item.model: ask.price(item.model) for item in ordered}
    by_price = sorted(ordered, key=lambda item: math.inf if (found := prices[item.model]) is None else found)
    return [
        (item.model, f"of {name}, " + ("no price known" if (found := prices[item.model]) is None else f"{found} units"))
        for item in by_price
    ]


def _by_latency(
    name: str, ordered: Sequence[Deployment], conditions: Conditions, *, explore: bool
) -> list[tuple[str, str]]:
    """The quickest first; what was never measured before all, and now and then anyone (``explore``)."""
    if explore:
        return [(item.model, f"of {name}, exploring") for item in ordered]
    known = {item.model: conditions.latency(item.model) for item in ordered}
    by_latency = sorted(ordered, key=lambda item: -1.0 if (found := known[item.model]) is None else found)
    return [
        (item.model, f"of {name}, {'not yet measured' if (found := known[item.model]) is None else f'{found:.3f} s'}")
        for item in by_latency
    ]


def _shared(deployments: Sequence[Deployment], key: str) -> list[Deployment]:
    """Shares keys out by weight: each key has one order, and a deployment that goes away moves only
    its own keys (weighted rendezvous hashing)."""

    def score(item: Deployment) -> float:
        digest = hashlib.blake2b(f"{key}\0{item.model}".encode(), digest_size=8).digest()
        share = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
        return -item.weight / math.log(share)

    return sorted(deployments, key=score, reverse=True)
