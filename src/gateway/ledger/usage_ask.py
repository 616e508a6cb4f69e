"""What may be asked about usage, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from gateway.errors import ValidationFailed

#: Everything that usage may be asked by, as an entry has it; what an entry has not is an empty text.
DIMENSIONS = (
    "principal", "key_id", "team", "model", "provider", "workflow_id", "kind", "outcome", "basis", "tags",
)  # fmt: skip
#: What is summed. A correction is an entry and no call.
SUMS = (
    "calls", "entries", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
    "inference_micros", "rows", "cost",
)  # fmt: skip
#: What callers say for the names that an entry has.
WORDS: Mapping[str, str] = MappingProxyType({"principal": "user", "key_id": "key", "workflow_id": "workflow"})
UNITS_OF_TIME = ("hour", "day", "week", "month")
#: What may be asked for in ``by``; beside these ``tag``, and ``tag.NAME`` for the values of one tag.
GROUPS = (*(name for name in DIMENSIONS if name != "tags"), *UNITS_OF_TIME)
#: Tags of calls that came when there were too many kinds of them.
FOLDED = "(others)"


class UsageAsk(Struct, frozen=True):
    """Which usage, and by what: ``since`` included, ``until`` not (microseconds). ``where`` holds values of
    ``DIMENSIONS`` (but for tags), ``tag`` one tag; ``run_id`` and ``task_id`` are asked of the entries."""

    by: tuple[str, ...] = ()
    where: dict[str, str] = {}
    tag: str = ""
    since: int | None = None
    until: int | None = None
    zone: str = "UTC"
    run_id: str = ""
    task_id: str = ""


class UsageSum(Struct, frozen=True):
    """One row of an answer: its group by the names asked for, and the sums by the names of ``SUMS``."""

    group: dict[str, str]
    sums: dict[str, int]


def unit_of(by: Sequence[str]) -> str:
    """The unit of time that is asked for; empty where none is."""
    return next((name for name in by if name in UNITS_OF_TIME), "")


def check_groups(by: Sequence[str]) -> None:
    """``ValidationFailed`` where usage cannot be grouped so."""
    for name in by:
        if name not in GROUPS and name != "tag" and not (name.startswith("tag.") and len(name) > 4):
            known = ", ".join(WORDS.get(name, name) for name in GROUPS)
            raise ValidationFailed(f"by: one or more of {known}, tag, tag.NAME", param="by")
    if sum(name in UNITS_OF_TIME for name in by) > 1:
        raise ValidationFailed(f"by: one of {', '.join(UNITS_OF_TIME)}, not several", param="by")
    if len(set(by)) < len(by):
        raise ValidationFailed("by: each name once", param="by")
