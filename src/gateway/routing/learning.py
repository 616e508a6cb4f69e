"""What is learned of deployments from how their calls ended and from feedback. Pure.

Counts fade: an outcome counts half after six hours, for a provider's bad hour is soon no news; a
rating counts half after fourteen days, for a model changes slowly. Every process adds its outcomes to
the shared ones and reads all of them every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

HOUR = 3_600 * 1_000_000
DAY = 24 * HOUR
OUTCOMES_HALVE = 6 * HOUR
RATINGS_HALVE = 14 * DAY
#: What is older than this is too faint to be read.
OUTCOMES_KEPT = 48 * HOUR
RATINGS_KEPT = 90 * DAY


class Outcomes(Struct, frozen=True):
    """How calls ended: counts, and the microseconds to the first token of the ``measured`` ones."""

    answered: int = 0
    failed: int = 0
    micros: int = 0
    measured: int = 0

    def plus(self, other: Outcomes) -> Outcomes:
        return Outcomes(
            self.answered + other.answered,
            self.failed + other.failed,
            self.micros + other.micros,
            self.measured + other.measured,
        )


class HourOfOutcomes(Struct, frozen=True):
    """The outcomes of one model in one hour (``at``: its beginning, microseconds)."""

    model: str
    at: int
    outcomes: Outcomes


class DayOfRatings(Struct, frozen=True):
    """The feedback on one model in one day: how many scores, and their sum."""

    model: str
    at: int
    ratings: int
    total: float


class Standing(Struct, frozen=True):
    """What is known of a deployment by now: faded counts. ``seconds`` is the sum to the first tokens."""

    answered: float = 0.0
    failed: float = 0.0
    seconds: float = 0.0
    measured: float = 0.0
    ratings: float = 0.0
    rating_sum: float = 0.0


class Feedback(Struct, frozen=True):
    """A score from 0 (useless) to 1 (as it should be) for one charged call of a model."""

    entry_id: str
    model: str
    principal: str
    score: float
    comment: str
    at: int


class FeedbackStore(Protocol):
    """Where scores are kept."""

    def keep(self, given: Feedback) -> None:
        """Keeps it; of several for one entry the last one."""
        ...


class OutcomeStore(Protocol):
    """Where the shared counts are kept."""

    def add_outcomes(self, hour: int, outcomes: dict[str, Outcomes]) -> None:
        """Adds to the counts of the hour; drops hours that nobody reads any more."""
        ...

    def outcomes(self, since: int) -> Sequence[HourOfOutcomes]:
        """Of every process."""
        ...

    def ratings(self, since: int) -> Sequence[DayOfRatings]:
        """Feedback by model and day."""
        ...


def standings(outcomes: Iterable[HourOfOutcomes], ratings: Iterable[DayOfRatings], now: int) -> dict[str, Standing]:
    """What is known of each model at ``now`` (microseconds)."""
    sums: dict[str, list[float]] = {}
    for row in outcomes:
        fade = 0.5 ** (max(now - row.at, 0) / OUTCOMES_HALVE)
        found = sums.setdefault(row.model, [0.0] * 6)
        told = row.outcomes
        for at, count in enumerate((told.answered, told.failed, told.micros / 1e6, told.measured)):
            found[at] += fade * count
    for day in ratings:
        fade = 0.5 ** (max(now - day.at, 0) / RATINGS_HALVE)
        found = sums.setdefault(day.model, [0.0] * 6)
        found[4] += fade * day.ratings
        found[5] += fade * day.total
    return {model: Standing(*counts) for model, counts in sums.items()}
