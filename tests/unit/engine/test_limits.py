"""How many steps with one key begin in any time as long as that of a rate."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.engine.limits import admit
from gateway.engine.ports import EngineTx
from gateway.engine.rows import Candidate, KeyedLimit, Limiter


class Kept:
    """How one key stands, in memory; what was handed out ends at once."""

    def __init__(self) -> None:
        self.next_at = 0

    def lock_limiters(self, keys: list[str]) -> dict[str, Limiter]:
        return {key: Limiter(0, self.next_at) for key in keys}

    def save_limiters(self, standing: dict[str, Limiter]) -> None:
        (self.next_at,) = (one.next_at for one in standing.values())


def begun(limit: KeyedLimit, moments: list[int], at_once: int) -> list[int]:
    """When steps began of which ``at_once`` ask at each of these moments."""
    kept, found = cast(Any, Kept()), []
    for now in moments:
        asking = [Candidate(str(number), (limit,)) for number in range(at_once)]
        found += [now] * len(admit(cast(EngineTx, kept), asking, now))
    return found


def most_within(times: list[int], per: int) -> int:
    return max((sum(start <= at < start + per for at in times) for start in times), default=0)


@example(3, 10, [0, 2, 3, 3], 9)  # a pause that is no whole number
@given(
    st.integers(1, 9),
    st.integers(9, 200),
    st.lists(st.integers(0, 40), max_size=60),
    st.integers(1, 12),
)
def test_any_time_as_long_as_that_of_the_rate_sees_less_than_twice_of_it(
    rate: int, per: int, pauses: list[int], at_once: int
) -> None:
    moments = [sum(pauses[: number + 1]) for number in range(len(pauses))]
    times = begun(KeyedLimit("name:x", None, rate, per), moments, at_once)
    assert most_within(times, per) <= 2 * rate - 1


def test_the_whole_rate_begins_at_once_then_one_after_the_other() -> None:
    times = begun(KeyedLimit("name:x", None, 3, 60), list(range(200)), 9)
    assert times[:7] == [0, 0, 0, 20, 40, 60, 80]
    assert most_within(times, 60) == 5


def test_a_rate_of_one_is_exact() -> None:
    times = begun(KeyedLimit("name:x", None, 1, 20), list(range(200)), 9)
    assert times == list(range(0, 200, 20))
