"""Events reach whoever listens once each, in order, on whichever replica, however often the line breaks."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from pydantic import BaseModel

from fixtures.engine_kit import ALICE, Bench
from fixtures.house import ROOT_KEY, House
from fixtures.money_kit import open_database
from gateway.api.event_feed import EventFeed
from gateway.events.event import Event, EventDraft
from gateway.security.access import Caller
from gateway.store.engine import Database
from gateway.store.event_store import SqlEventStore
from gateway.tasks.desk import Desk
from gateway.workflows import StepContext, task_type


class Reading:
    """The part of a desk that a feed asks, over a connection of its own: a replica."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.store = SqlEventStore(self.database)

    def latest_event_id(self) -> int:
        return self.store.latest()

    def events(self, caller: Caller, *, after: int, types: Sequence[str], limit: int, **_where: Any) -> list[Event]:
        return self.store.after(after, owner=caller.principal, types=types, limit=limit)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'gateway.db'}"


@pytest.fixture
def bench(url: str) -> Iterator[Bench]:
    database = open_database(url)
    yield Bench(database)
    database.close()


def tell_one_by_one(bench: Bench, times: int) -> None:
    for _ in range(times):
        bench.tell(1)


@pytest.mark.parametrize("with_stamp", [True, False], ids=["a look at the journal", "asking alone"])
def test_nothing_is_lost_or_doubled_over_replicas_and_broken_lines(bench: Bench, url: str, with_stamp: bool) -> None:
    """Four writers in one process, a reader that changes between two replicas at random."""
    replicas = [Reading(url), Reading(url)]
    chance = random.Random(7)
    told: list[int] = []

    async def read_all(most: int) -> None:
        none = cast(Any, lambda: None)
        feeds = [EventFeed(cast(Desk, one), one.store.stamp if with_stamp else none) for one in replicas]
        writers = [threading.Thread(target=tell_one_by_one, args=(bench, 30)) for _ in range(4)]
        for writer in writers:
            writer.start()
        while len(told) < most:
            until_break = chance.randint(1, 12)
            listening = chance.choice(feeds).listen(ALICE, told[-1] if told else 0, silence=20)
            async for event in listening:
                assert event is not None, "nothing came for a long time"
                told.append(event.id)
                until_break -= 1
                if not until_break or len(told) == most:
                    break
            await cast(Any, listening).aclose()
        for writer in writers:
            writer.join()

    asyncio.run(read_all(120))
    assert told == list(range(1, 121))
    for one in replicas:
        one.database.close()


def test_the_stamp_of_a_database_is_another_after_a_commit_of_anybody(bench: Bench, url: str) -> None:
    other = Reading(url)
    bench.tell(1)
    before = other.store.stamp()
    assert before is not None
    bench.tell(200)
    assert other.store.stamp() != before
    other.database.close()


class Gate(BaseModel):
    pass


class Gone(BaseModel):
    passed: bool


class Gates:
    """Holds a step until the test has seen what it told."""

    def __init__(self) -> None:
        self.open = threading.Event()


def test_progress_is_heard_while_the_step_still_runs(house: House) -> None:
    gates = Gates()

    @task_type("waits_at_a_gate")
    def wait(ctx: StepContext, _data: Gate) -> Gone:
        """Tells how far it is and then waits until that was heard."""
        ctx.progress(0.4, "fitting")
        return Gone(passed=gates.open.wait(20))

    house.core.task_types["waits_at_a_gate"] = wait.spec
    try:
        task_id = house.ask("POST", "/tasks", {"task_type": "waits_at_a_gate"}).body["task_id"]

        async def hear() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            address = f"{house.url}/ws?task_id={task_id}&last_event_id=0"
            async with (
                aiohttp.ClientSession(headers={"authorization": f"Bearer {ROOT_KEY}"}) as session,
                session.ws_connect(address) as socket,
            ):
                while not found or found[-1]["type"] != "task_completed":
                    found.append(await socket.receive_json(timeout=20))
                    if found[-1]["type"] == "task_progress":
                        gates.open.set()
            return found

        heard = asyncio.run(hear())
    finally:
        del house.core.task_types["waits_at_a_gate"]
    assert [event["type"] for event in heard] == ["task_started", "task_progress", "task_completed"]
    assert (heard[1]["progress"], heard[1]["note"]) == (0.4, "fitting")
    assert heard[2]["result"] == {"passed": True}


@pytest.mark.parametrize(
    ("query", "param"),
    [("types=tea_ready", "types"), ("last_event_id=soon", "last_event_id"), ("colour=red", "colour")],
)
def test_a_question_in_the_address_is_read_as_strictly_as_a_message(house: House, query: str, param: str) -> None:
    async def ask() -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {ROOT_KEY}"}) as session,
            session.ws_connect(f"{house.url}/ws?{query}") as socket,
        ):
            told: dict[str, Any] = await socket.receive_json(timeout=10)
            return told

    assert asyncio.run(ask())["error"]["param"] == param


@asynccontextmanager
async def connected(house: House, key: str, query: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session,
        session.ws_connect(house.url + "/ws" + query) as socket,
    ):
        yield socket


async def heard_until(socket: aiohttp.ClientWebSocketResponse, task_id: str, kind: str) -> list[dict[str, Any]]:
    """What is told up to that event of that task."""
    found: list[dict[str, Any]] = []
    while not found or (found[-1]["task_id"], found[-1]["type"]) != (task_id, kind):
        found.append(await socket.receive_json(timeout=20))
    return found


def told(house: House, owner: str, *tasks: str) -> None:
    drafts = [EventDraft("task_completed", owner, task_id=task_id) for task_id in tasks]
    house.core.events.add(drafts, house.core.clock.now())


def test_who_just_connects_hears_all_they_may_see_from_then_on(house: House) -> None:
    told(house, "ann", "before")

    async def hear() -> list[list[str]]:
        async with (
            connected(house, house.key("developer", principal="ann")) as ann,
            connected(house, house.key("developer", principal="bea")) as bea,
            connected(house, house.key("operator", principal="olga")) as olga,
        ):
            await asyncio.to_thread(told, house, "ann", "first", "second")
            await asyncio.to_thread(told, house, "bea", "third")
            await asyncio.to_thread(told, house, "ann", "last")
            await asyncio.to_thread(told, house, "bea", "last")
            heard = [await heard_until(socket, "last", "task_completed") for socket in (ann, bea)]
            heard.append(await heard_until(olga, "last", "task_completed"))
        return [[event["task_id"] for event in events] for events in heard]

    assert asyncio.run(hear()) == [
        ["first", "second", "last"],
        ["third", "last"],
        ["first", "second", "third", "last"],
    ]


def test_what_happens_once_the_handshake_is_answered_is_heard(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place from which events are told is looked up before the client can know that it is connected."""
    there, seen = threading.Event(), list[bool]()
    latest = house.services.desk.latest_event_id

    def asked() -> int:
        seen.append(there.wait(0 if seen else 0.3))
        return latest()

    monkeypatch.setattr(house.services.desk, "latest_event_id", asked)

    async def connect() -> list[dict[str, Any]]:
        async with connected(house, house.key("developer", principal="cleo")) as socket:
            there.set()
            await asyncio.to_thread(told, house, "cleo", "at once")
            return await heard_until(socket, "at once", "task_completed")

    assert len(asyncio.run(connect())) == 1
    assert seen[0] is False


def test_narrowing_loses_nothing_that_came_before_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the feed was not yet told of events as the narrower subscription began, they still come."""

    waits = threading.Event()

    async def nothing_new(_self: EventFeed, _seen: int, _silence: float) -> bool:
        waits.set()
        await asyncio.Event().wait()
        return False

    async def hear() -> list[str]:
        async with connected(house, house.key("developer", principal="dora")) as socket:
            # Else the wider subscription might still tell what comes before the server has read the narrower.
            assert await asyncio.to_thread(waits.wait, 10)
            await asyncio.to_thread(told, house, "dora", "one", "two")
            monkeypatch.undo()
            await socket.send_json({"type": "subscribe", "types": ["task_failed"]})
            heard = await heard_until(socket, "two", "task_completed")
            await asyncio.to_thread(told, house, "dora", "unwanted")
            failed = EventDraft("task_failed", "dora", task_id="three")
            await asyncio.to_thread(house.core.events.add, [failed], house.core.clock.now())
            heard += await heard_until(socket, "three", "task_failed")
        return [event["task_id"] for event in heard]

    monkeypatch.setattr(EventFeed, "_wait", nothing_new)
    assert asyncio.run(hear()) == ["one", "two", "three"]
