"""Rate limits: exact in every minute."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.ledger_house import together
from fixtures.money_kit import ManualClock
from gateway.errors import RateLimited
from gateway.models.bound import Bound
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
    limits.settle(taken, 20)
    assert limits.take(me, model="m", tokens=30).remaining_tokens == 50
    with pytest.raises(RateLimited) as caught:
        limits.take(me, model="m", tokens=101)
    assert caught.value.retry_after is None, "waiting does not help"


def test_the_model_has_a_limit_for_all_callers_together() -> None:
    limits, model = Limits(ManualClock()), Bound("model:m", requests=2)
    for name in ("one", "other"):
        told = limits.take(caller(key_id=name, requests_per_minute=9), model="m", tokens=1, of_model=model)
    assert (told.limit_requests, told.remaining_requests) == (2, 0), "the tightest limit is told"
    with pytest.raises(RateLimited, match="limit of the model 'm' of 2 requests") as caught:
        limits.take(caller(key_id="third"), model="m", tokens=1, of_model=model)
    assert (caught.value.details["scope"], caught.value.details["subject"]) == ("model", "m")


@pytest.mark.parametrize("kind", ["key", "user", "team", "model"])
def test_where_one_limit_refuses_nothing_is_taken_of_the_others(kind: str) -> None:
    limits = Limits(ManualClock())
    bounds = {
        name: Bound(f"{name}:x", *((1, None) if name == kind else (5, 100))) for name in ("user", "team", "model")
    }
    me = caller(
        key_id="x", requests_per_minute=1 if kind == "key" else 5, shared=(bounds["user"], bounds["team"])
    )  # fmt: skip
    limits.take(me, model="x", tokens=10, of_model=bounds["model"])
    for _ in range(9):
        with pytest.raises(RateLimited) as caught:
            limits.take(me, model="x", tokens=10, of_model=bounds["model"])
        assert caught.value.details["scope"] == kind
    for name in {"key", "user", "team", "model"} - {kind}:
        alone = (
            caller(key_id="x", requests_per_minute=5) if name == "key" else caller(key_id="y", shared=(bounds[name],))
        )
        assert limits.take(alone, model="x", tokens=0).remaining_requests == 3, name


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
