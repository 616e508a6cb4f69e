"""Rate limits that processes share: never too much in any minute, and nothing lost for long."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.money_kit import ManualClock
from gateway.errors import RateLimited
from gateway.security.access import Caller, caller_for
from gateway.security.limits import WINDOW_SECONDS, LimitState
from gateway.security.shared_limits import LAPSE_SECONDS, Ask, Back, Granted, SharedLimits


class Grants:
    """What the script in Valkey does, by a clock that a test moves."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, int, int]] = {}
        self.asked = 0

    def exchange(self, _key: str, back: Sequence[Back], ask: Ask | None) -> Granted | None:
        now = self._clock.monotonic()
        for one in back:
            if one.grant_id in self._held:
                ends, requests, tokens = self._held[one.grant_id]
                self._held[one.grant_id] = (ends, max(requests - one.requests, 0), max(tokens - one.tokens, 0))
        if ask is None:
            return None
        self.asked += 1
        self._held = {name: held for name, held in self._held.items() if held[0] > now}
        requests = sum(held[1] for held in self._held.values())
        tokens = sum(held[2] for held in self._held.values())
        free_requests = ask.want_requests if ask.most_requests is None else ask.most_requests - requests
        free_tokens = ask.want_tokens if ask.most_tokens is None else ask.most_tokens - tokens
        if (ask.most_requests is not None and free_requests < 1) or free_tokens < ask.tokens:
            return Granted(0, 0, requests, tokens, 1.0)
        processes = len({name.partition(":")[0] for name in (*self._held, ask.grant_id)})
        given_requests = min(ask.want_requests, max(free_requests // processes, 1))
        given_tokens = min(ask.want_tokens, max(free_tokens // processes, ask.tokens))
        self._held[ask.grant_id] = (now + WINDOW_SECONDS + LAPSE_SECONDS, given_requests, given_tokens)
        return Granted(given_requests, given_tokens, requests + given_requests, tokens + given_tokens)


def passes(limits: SharedLimits, me: Caller) -> bool:
    try:
        limits.take(me, model="m", tokens=1)
    except RateLimited:
        return False
    return True


STEPS = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 9), st.integers(1, 12)), min_size=1, max_size=120)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.integers(1, 40), st.integers(5, 200))
def test_in_no_minute_more_than_the_limit_passes(
    steps: list[tuple[int, float, int]], requests: int, tokens: int
) -> None:
    clock = ManualClock()
    store = Grants(clock)
    processes = [SharedLimits(clock, store) for _ in range(3)]
    me = caller_for("p", "developer", key_id="k", requests_per_minute=requests, tokens_per_minute=tokens)
    passed: list[tuple[float, int]] = []
    for process, pause, asked in steps:
        clock.pass_seconds(pause)
        try:
            processes[process].take(me, model="m", tokens=asked)
        except RateLimited:
            continue
        finally:
            processes[process].give_back()
        now = clock.monotonic()
        passed.append((now, asked))
        minute = [used for at, used in passed if at > now - WINDOW_SECONDS]
        assert len(minute) <= requests
        assert sum(minute) <= tokens


def test_a_busy_key_seldom_asks_the_store() -> None:
    clock = ManualClock()
    store = Grants(clock)
    limits = SharedLimits(clock, store)
    me = caller_for("p", "developer", key_id="k", requests_per_minute=100_000)
    for _ in range(20_000):
        limits.take(me, model="m", tokens=1)
    assert store.asked < 20


def test_a_second_begins_with_what_the_last_one_used() -> None:
    clock = ManualClock()
    store = Grants(clock)
    limits = SharedLimits(clock, store)
    me = caller_for("p", "developer", key_id="k", requests_per_minute=10**6, tokens_per_minute=10**8)
    asked = []
    for number in range(30_000):  # three seconds of a call every tenth of a millisecond
        clock.pass_seconds(0.0001)
        if number % 5_000 == 0:
            limits.give_back()
        limits.take(me, model="m", tokens=7)
        if number % 10_000 == 9_999:
            asked.append(store.asked)
    first, second, third = asked
    assert first > 10
    assert max(second - first, third - second) <= 2


def test_a_grant_leaves_the_others_their_share_of_what_is_left() -> None:
    clock = ManualClock()
    store = Grants(clock)
    one, other = (SharedLimits(clock, store) for _ in range(2))
    me = caller_for("p", "developer", key_id="k", requests_per_minute=160)
    for _ in range(140):
        one.take(me, model="m", tokens=1)
    assert passes(other, me)
    clock.pass_seconds(1.5)  # its next second would begin with far more than there is
    assert passes(one, me)
    assert sum(passes(other, me) for _ in range(20)) >= 9, "half of the nineteen that were left"


def test_closing_ends_the_thread_and_gives_everything_back() -> None:
    clock = ManualClock()
    store = Grants(clock)
    one, other = (SharedLimits(clock, store) for _ in range(2))
    me = caller_for("p", "developer", key_id="k", requests_per_minute=64)
    before = threading.active_count()
    for _ in range(4):  # grants of 1, 2 and 4: three are left over
        one.take(me, model="m", tokens=1)
    assert threading.active_count() == before + 1
    one.close()
    assert threading.active_count() == before
    assert sum(passes(other, me) for _ in range(70)) == 60
    other.close()


def test_without_limits_nobody_is_asked() -> None:
    store = Grants(ManualClock())
    assert SharedLimits(ManualClock(), store).take(caller_for("p", "developer"), model="m", tokens=9) == LimitState()
    assert store.asked == 0
