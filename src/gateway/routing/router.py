"""Which deployments answer for a model, in which order, and why. Pure: the same input, the same plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct


class Target(Protocol):
    """The part of a model's row that routing reads."""

    @property
    def name(self) -> str: ...

    @property
    def fallbacks(self) -> tuple[str, ...]: ...


class Plan(Struct, frozen=True):
    """Model names in the order they are to be tried, and a reason for each."""

    models: tuple[str, ...]
    reasons: tuple[str, ...]


def plan(
    model: str, models: Mapping[str, Target], allowed: Callable[[str], bool], healthy: Callable[[str], bool]
) -> Plan:
    """The model itself, then its fallbacks that the caller may use; the unhealthy go last.

    A fallback is one only here: its own fallbacks do not count.
    """
    first = models[model]
    wanted = [model, *(name for name in dict.fromkeys(first.fallbacks) if name != model and allowed(name))]
    up = [name for name in wanted if healthy(name)]
    down = [name for name in wanted if name not in up]
    reasons = [_reason(name, model, late=False) for name in up] + [_reason(name, model, late=True) for name in down]
    return Plan((*up, *down), tuple(reasons))


def _reason(name: str, model: str, *, late: bool) -> str:
    role = "asked for" if name == model else f"fallback of {model}"
    return f"{name}: {role}" + (", its last calls failed" if late else "")
