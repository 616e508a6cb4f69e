"""Places of calls at once that processes share through a real Valkey."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

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
from gateway.security.limits import LimitState
from gateway.security.places import SharedPlaces, Wanted
from gateway.security.shared_limits import SharedLimits
from gateway.store.limit_grants import RedisGrants
from gateway.store.limit_places import RedisPlaces

Make = Callable[[str], SharedLimits]
pytestmark = pytest.mark.skipif(broker_program() is None, reason="no Valkey wheel fits this platform")


@pytest.fixture
def process() -> Iterator[Make]:
    """Makes what a process counts by."""
    made = []

    def make(url: str) -> SharedLimits:
        made.append(SharedLimits(SystemClock(), RedisGrants(url), RedisPlaces(url)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def caller(**fields: object) -> Caller:
    return caller_for("p", "developer", **{"key_id": new_id("key"), **fields})


def enter(limits: SharedLimits, me: Caller) -> LimitState | None:
    try:
        return limits.take(me, model="m", tokens=1)
    except RateLimited:
        return None


@pytest.mark.parametrize("most", [1, 7])
def test_no_more_than_the_limit_run_at_once_in_all_processes(process: Make, valkey_url: str, most: int) -> None:
    processes = [process(valkey_url) for _ in range(4)]
    me = caller(max_concurrent=most)
    for _ in range(3):
        found = together(lambda number: [enter(processes[number % 4], me) for _ in range(6)], 8)
        held = [
            (number % 4, state)
            for number, states in enumerate(found)
            if isinstance(states, list)
            for state in states
            if state
        ]
        assert len(held) == most
        for number, state in held:
            processes[number].release(state)
            processes[number].release(state)  # a second time changes nothing


def test_one_after_the_other_never_meet_whichever_process_answers(process: Make, valkey_url: str) -> None:
    processes = [process(valkey_url) for _ in range(3)]
    me = caller(max_concurrent=1)
    for turn in range(60):
        state = enter(processes[turn % 3], me)
        assert state is not None
        assert enter(processes[(turn + 1) % 3], me) is None
        processes[turn % 3].release(state)


def test_where_one_limit_is_full_no_place_of_the_others_is_taken(process: Make, valkey_url: str) -> None:
    one, other = process(valkey_url), process(valkey_url)
    team = Bound(f"team:{new_id('team')}", concurrent=1)
    first, second = (caller(max_concurrent=1, shared=(team,), requests_per_minute=2) for _ in range(2))
    state = one.take(first, model="m", tokens=1)
    for _ in range(5):
        with pytest.raises(RateLimited) as caught:
            other.take(second, model="m", tokens=1)
        assert (caught.value.details["scope"], caught.value.details["used"]) == ("team", 1)
    one.release(state)
    assert enter(other, second) is not None


def test_places_of_a_dead_process_are_free_after_its_lease(valkey_url: str) -> None:
    dead, alive, name = RedisPlaces(valkey_url, seconds=0.3), RedisPlaces(valkey_url), new_id("key")
    assert dead.enter("dead", [Wanted(name, 1, 0)]) is None
    assert alive.enter("alive", [Wanted(name, 1, 0)]) == (0, 1)
    House.until(lambda: alive.enter("alive", [Wanted(name, 1, 0)]), lambda refused: refused is None)


def test_a_call_that_lasts_keeps_its_place(valkey_url: str) -> None:
    clock, store, bound = ManualClock(), RedisPlaces(valkey_url, seconds=0.3), Bound(new_id("key"), concurrent=1)
    here, there = SharedPlaces(clock, store, "here"), SharedPlaces(clock, RedisPlaces(valkey_url), "there")
    here.enter([bound], "m")
    renewed = 0

    def refused() -> bool:
        nonlocal renewed
        clock.pass_seconds(3)
        here.renew()
        renewed += 1
        with pytest.raises(RateLimited):
            there.enter([bound], "m")
        return renewed >= 40  # far longer than a lease lasts

    House.until(refused, bool)
    here.leave([bound.name])
    there.enter([bound], "m")


def test_a_process_that_closes_gives_its_places_back(process: Make, valkey_url: str) -> None:
    one, other, me = process(valkey_url), process(valkey_url), caller(max_concurrent=1)
    assert enter(one, me) is not None
    assert enter(other, me) is None
    one.close()
    assert enter(other, me) is not None


class Shaky:
    """A store that may be away."""

    def __init__(self, url: str) -> None:
        self.away = False
        self._store = RedisPlaces(url)

    def __getattr__(self, name: str) -> object:
        if self.away:
            raise Unavailable("the store of limits does not answer")
        return getattr(self._store, name)


def test_while_the_store_is_away_each_counts_for_itself_and_then_says_what_runs(valkey_url: str) -> None:
    clock, shaky, bound = ManualClock(), Shaky(valkey_url), Bound(new_id("key"), concurrent=2)
    here = SharedPlaces(clock, shaky, "here")  # type: ignore[arg-type]
    there = SharedPlaces(clock, RedisPlaces(valkey_url), "there")
    here.enter([bound], "m")
    shaky.away = True
    here.enter([bound], "m")
    with pytest.raises(RateLimited):
        here.enter([bound], "m")
    here.leave([bound.name])
    here.enter([bound], "m")
    there.enter([bound], "m")  # the store knows of one only
    shaky.away = False
    clock.pass_seconds(3)
    here.renew()
    there.leave([bound.name])
    with pytest.raises(RateLimited) as caught:
        there.enter([bound], "m")
    assert caught.value.details["used"] == 2
    shaky.away = True
    here.leave([bound.name])
    shaky.away = False
    clock.pass_seconds(3)
    here.renew()
    there.enter([bound], "m")


def test_a_store_that_is_not_there_is_said_once(process: Make, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    limits = process(f"redis://127.0.0.1:{port}/0")
    me = caller(max_concurrent=2)
    states = [enter(limits, me) for _ in range(4)]
    assert [state is not None for state in states] == [True, True, False, False]
    for state in states[:2]:
        assert state is not None
        limits.release(state)
    assert enter(limits, me) is not None
    assert caplog.text.count("each process for itself") == 1
