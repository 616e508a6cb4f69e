"""Guards: the small checks that a request to a model, and its answer, pass through.

A guard *finds*; what is done about it (block, redact, flag) is said in the configuration. A Python
package brings its own through the entry point group ``gateway.guards``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol, cast

from msgspec import Struct, field

from gateway.errors import ConfigurationInvalid

GUARDS = "gateway.guards"

Action = Literal["block", "redact", "flag"]
Stage = Literal["input", "output"]
Where = Literal["system", "user", "assistant", "tool", "other"]


class Rule(Struct, frozen=True):
    """What a kind of guard takes: its actions and its stages, the default of each first, and its options."""

    actions: tuple[Action, ...]
    stages: tuple[Stage, ...]
    options: frozenset[str] = frozenset()
    #: Whether both stages are looked at where nothing is said; else only the first.
    both: bool = False


#: The guards that come with the gateway; ``custom`` is one of an installed package.
RULES: Mapping[str, Rule] = {
    "limits": Rule(("block", "flag"), ("input",), frozenset({"max_characters", "max_turns", "max_images", "banned"})),
    "pii": Rule(("redact", "block", "flag"), ("input", "output"), frozenset({"kinds", "terms", "restore"})),
    "secrets": Rule(("block", "redact", "flag"), ("input", "output"), frozenset({"kinds", "restore"})),
    "injection": Rule(("flag", "block"), ("input",), frozenset({"threshold"})),
    "schema": Rule(("block", "flag"), ("output",), frozenset({"schema", "repair"})),
    "output": Rule(("block", "flag"), ("output",), frozenset({"max_characters", "banned"})),
    "custom": Rule(("flag", "block", "redact"), ("input", "output"), frozenset({"name", "options"}), both=True),
}


class GuardSpec(Struct, frozen=True):
    """A guard as configured. ``name`` is what verdicts and errors call it."""

    guard: str
    name: str
    action: Action
    stages: tuple[Stage, ...]
    options: dict[str, Any] = field(default_factory=dict)


class GuardText(Struct, frozen=True):
    """One text of a request or an answer, and where it stands (``messages[2]``, ``tools[0].description``)."""

    place: str
    role: Where
    text: str


class Asked(Struct, frozen=True):
    """What a guard looks at: every text in order, and how much else there is."""

    texts: Sequence[GuardText]
    turns: int = 0
    images: int = 0


class Finding(Struct, frozen=True):
    """Something of a ``kind`` was found: in the text number ``at`` (-1: in the whole) from ``start`` to
    ``end``. A finding without a stretch can be blocked or flagged, never redacted."""

    kind: str
    at: int = -1
    start: int = 0
    end: int = 0


class Guard(Protocol):
    """The port. Pure and quick: it is called on the way of every request, and may be called from threads."""

    def look(self, asked: Asked) -> Iterable[Finding]:
        """What is found; nothing where all is well. Never raises for what a text holds."""
        ...


def offered_guards() -> dict[str, Any]:
    """The entry points of installed packages, by name."""
    return {point.name: point for point in entry_points(group=GUARDS)}


def load_guard(name: str, options: Mapping[str, Any]) -> Guard:
    """The guard that an installed package offers as ``name``; ``options`` go to its factory."""
    offered = offered_guards()
    if name not in offered:
        raise ConfigurationInvalid(
            f"no installed package offers {name!r} in the entry point group {GUARDS!r}",
            mend=f"install the package that does; offered now: {', '.join(sorted(offered)) or 'none'}",
        )
    factory = cast(Callable[..., Guard], offered[name].load())
    try:
        return factory(**options)
    except TypeError as error:
        raise ConfigurationInvalid(f"the guard {name!r} does not take these options", mend=str(error)[:200]) from error
