"""Rate limits: exact in every minute."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.ledger_house import together
from fixtures.money_kit import ManualClock
from gateway.errors import RateLimited
from gateway.security.access import Caller, caller_for
from gateway.security.limits import Limits, LimitState


def caller(**fields: object) -> Caller:
    return caller_for("p", "developer", **{"key_id": "k", **fields})


def test_without_limits_nothing_is_counted() -> None:
    limits = Limits(ManualClock())
    assert limits.take(caller(), model="m", tokens=10**9) == LimitState()


def test_requests_a_minute() -> None:
    clock = ManualClock()
    limits = Limits(clock)
    me = caller(requests_per_minute=2)
    assert limits.take(me, model="m", tokens=1).remaining_requests == 1
    clock.pass_seconds(10)
    limits.take(me, model="m", tokens=1)
    with pytest.raises(RateLimited) as caught:
        limits.take(me, model="m", tokens=1)
    assert caught.value.retry_after == pytest.approx(50)
    assert caught.value.details["window"] == "requests_per_minute"
    clock.pass_seconds(50.1)
    limits.take(me, model="m", tokens=1)


def test_tokens_a_minute_are_settled_by_what_was_used() -> None:
    clock = ManualClock()
    limits = Limits(clock)
    me = caller(tokens_per_minute=100)
    taken = limits.take(me, model="m", tokens=80)
    with pytest.raises(RateLimited):
        limits.take(me, model="m", tokens=30)
    limits.settle(me, taken, 20)
    assert limits.state(me).remaining_tokens == 80
    limits.take(me, model="m", tokens=30)
    with pytest.raises(RateLimited) as caught:
        limits.take(me, model="m", tokens=101)
    assert caught.value.retry_after is None, "waiting does not help"


def test_the_default_binds_keys_without_a_limit_of_their_own() -> None:
    limits = Limits(ManualClock(), default_requests_per_minute=1)
    limits.take(caller(), model="m", tokens=1)
    with pytest.raises(RateLimited):
        limits.take(caller(), model="m", tokens=1)
    limits.take(caller(key_id="other"), model="m", tokens=1)
    assert limits.take(caller(key_id="more", requests_per_minute=5), model="m", tokens=1).limit_requests == 5


def test_a_place_is_given_back() -> None:
    limits = Limits(ManualClock(), max_concurrent=1)
    with limits.running(caller()), pytest.raises(RateLimited, match="running"), limits.running(caller()):
        pass
    with limits.running(caller()):
        pass


def test_threads_get_no_more_than_the_limit() -> None:
    limits = Limits(ManualClock())
    me = caller(requests_per_minute=20)
    results = together(lambda _number: [taken(limits, me) for _ in range(10)], 8)
    assert sum(sum(one) for one in results if isinstance(one, list)) == 20


def taken(limits: Limits, me: Caller) -> bool:
    try:
        limits.take(me, model="m", tokens=1)
    except RateLimited:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(pauses=st.lists(st.floats(0, 30), max_size=60), most=st.integers(1, 6))
def test_no_minute_holds_more_than_the_limit(pauses: list[float], most: int) -> None:
    clock = ManualClock()
    limits = Limits(clock)
    me = caller(requests_per_minute=most)
    times = []
    for pause in pauses:
        clock.pass_seconds(pause)
        if taken(limits, me):
            times.append(clock.monotonic())
    for start in times:
        assert sum(start <= time < start + 60 for time in times) <= most
