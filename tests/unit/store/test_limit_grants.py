"""Rate limits that processes share through a real Valkey."""

from __future__ import annotations

import socket

import pytest

from fixtures.house import House
from fixtures.ledger_house import together
from fixtures.money_kit import ManualClock
from gateway.cli.embedded_broker import broker_program
from gateway.clock import SystemClock
from gateway.errors import RateLimited, Unavailable
from gateway.ids import new_id
from gateway.models.bound import Bound
from gateway.security.access import Caller, caller_for
from gateway.security.shared_limits import Ask, Back, SharedLimits
from gateway.store.limit_grants import RedisGrants

pytestmark = pytest.mark.skipif(broker_program() is None, reason="no Valkey wheel fits this platform")


def caller(**fields: object) -> Caller:
    return caller_for("p", "developer", **{"key_id": new_id("key"), **fields})


def passes(limits: SharedLimits, me: Caller, tokens: int = 1) -> bool:
    try:
        limits.take(me, model="m", tokens=tokens)
    except RateLimited:
        return False
    return True


@pytest.mark.parametrize("limit", [7, 100])
def test_of_many_at_once_in_several_processes_exactly_the_limit_passes(valkey_url: str, limit: int) -> None:
    processes = [SharedLimits(SystemClock(), RedisGrants(valkey_url)) for _ in range(4)]
    me = caller(requests_per_minute=limit)
    found = together(lambda number: sum(passes(processes[number % 4], me) for _ in range(63)), 8)
    assert sum(item for item in found if isinstance(item, int)) == limit


def test_tokens_that_a_call_did_not_use_are_there_for_another_process(valkey_url: str) -> None:
    clock = ManualClock()
    one, other = (SharedLimits(clock, RedisGrants(valkey_url)) for _ in range(2))
    me = caller(tokens_per_minute=100)
    taken = one.take(me, model="m", tokens=90)
    assert taken.remaining_tokens == 10
    with pytest.raises(RateLimited) as caught:
        other.take(me, model="m", tokens=30)
    assert caught.value.details["window"] == "tokens_per_minute"
    assert 55 < (caught.value.retry_after or 0) <= 61
    clock.pass_seconds(2)  # the grant has lapsed
    one.settle(taken, 20)
    one.give_back()
    assert passes(other, me, 30)
    with pytest.raises(RateLimited) as caught:
        other.take(me, model="m", tokens=101)
    assert caught.value.retry_after is None, "waiting does not help"


def test_where_the_team_refuses_the_key_has_lost_nothing_in_any_process(valkey_url: str) -> None:
    clock = ManualClock()
    one, other = (SharedLimits(clock, RedisGrants(valkey_url)) for _ in range(2))
    team = Bound(f"team:{new_id('team')}", requests=2)
    me = caller(requests_per_minute=9, shared=(team,))
    assert [passes(one, me) for _ in range(5)] == [True, True, False, False, False]
    with pytest.raises(RateLimited) as caught:
        other.take(me, model="m", tokens=1)
    assert caught.value.details["scope"] == "team"
    assert 0 < (caught.value.retry_after or 0) <= 61
    clock.pass_seconds(2)
    one.give_back()
    other.give_back()
    alone = caller(key_id=me.key_id, requests_per_minute=9)
    assert sum(passes(other, alone) for _ in range(20)) == 7


def test_of_many_keys_of_a_team_exactly_the_teams_limit_passes(valkey_url: str) -> None:
    processes = [SharedLimits(SystemClock(), RedisGrants(valkey_url)) for _ in range(4)]
    team = Bound(f"team:{new_id('team')}", requests=40)
    keys = [caller(requests_per_minute=1_000, shared=(team,)) for _ in range(3)]
    found = together(lambda number: sum(passes(processes[number % 4], keys[turn % 3]) for turn in range(30)), 8)
    assert sum(item for item in found if isinstance(item, int)) == 40


def test_what_a_call_used_beyond_its_worst_case_counts_too(valkey_url: str) -> None:
    clock = ManualClock()
    one, other = (SharedLimits(clock, RedisGrants(valkey_url)) for _ in range(2))
    me = caller(tokens_per_minute=100)
    taken = one.take(me, model="m", tokens=10)
    clock.pass_seconds(2)
    one.settle(taken, 80)
    one.give_back()
    assert not passes(other, me, 30)
    assert passes(other, me, 20)


def test_what_a_process_does_not_use_goes_back(valkey_url: str) -> None:
    clock = ManualClock()
    one, other = (SharedLimits(clock, RedisGrants(valkey_url)) for _ in range(2))
    me = caller(requests_per_minute=64)
    for _ in range(5):  # grants of 1, 2 and 4: two are left over
        one.take(me, model="m", tokens=1)
    clock.pass_seconds(2)
    one.give_back()
    assert sum(passes(other, me) for _ in range(70)) == 59


def test_what_a_dead_process_held_ends_by_itself(valkey_url: str) -> None:
    store, key = RedisGrants(valkey_url, seconds=0.2), new_id("key")
    ask = Ask("a", 1, None, 1, 0, 0)
    first = store.exchange(key, (), ask)
    assert first is not None
    assert (first.requests, first.wait) == (1, None)
    refused = store.exchange(key, (), Ask("b", 1, None, 1, 0, 0))
    assert refused is not None
    assert refused.wait is not None
    assert House.until(
        lambda: store.exchange(key, (), Ask("c", 1, None, 1, 0, 0)), lambda found: found is not None and not found.wait
    )


def test_a_process_gets_no_more_than_its_share_of_what_is_left(valkey_url: str) -> None:
    store, key = RedisGrants(valkey_url), new_id("key")
    for process, requests, tokens in (("a", 100, 1000), ("b", 50, 500), ("a", 25, 250)):
        ask = Ask(new_id(process).replace("_", ":"), 200, 2000, 100, 1000, 10)
        found = store.exchange(key, (), ask)
        assert found is not None
        assert (found.requests, found.tokens) == (requests, tokens)


def test_giving_back_twice_or_what_is_gone_changes_nothing(valkey_url: str) -> None:
    store, key = RedisGrants(valkey_url), new_id("key")
    store.exchange(key, (), Ask("a", 2, None, 2, 0, 0))
    assert store.exchange(key, [Back("a", 1, 0), Back("z", 5, 5)], None) is None
    found = store.exchange(key, (), Ask("b", 2, None, 2, 0, 0))
    assert found is not None
    assert (found.requests, found.used_requests) == (1, 2)


def test_while_the_store_is_away_each_process_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    limits = SharedLimits(SystemClock(), RedisGrants(f"redis://127.0.0.1:{port}/0"))
    me = caller(requests_per_minute=3)
    assert [passes(limits, me) for _ in range(5)] == [True, True, True, False, False]
    assert caplog.text.count("each process for itself") == 1
    with pytest.raises(Unavailable):
        RedisGrants(f"redis://127.0.0.1:{port}/0").exchange("k", (), Ask("a", 1, None, 1, 0, 0))
