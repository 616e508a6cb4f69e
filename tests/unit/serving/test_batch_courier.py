"""Couriers of two processes over one database: whoever dies, a batch is handed over once and charged once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.batch_upstream import BatchUpstream
from fixtures.house import House, write_config
from fixtures.money_kit import DAY, ManualClock
from fixtures.upstream import Upstream, running_upstream
from gateway.bootstrap import Core, Serving, make_core, make_serving
from gateway.clock import SystemClock
from gateway.ids import new_id
from gateway.ledger.budgets import BudgetService
from gateway.ledger.entry import Entry, UsageFilter
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Message, TextPart
from gateway.providers.directory import ProviderDirectory
from gateway.providers.local_llm import LocalServerNote
from gateway.providers.transport import Transport
from gateway.security.access import caller_for
from gateway.serving.batch_courier import BatchCourier
from gateway.serving.batch_settling import BatchSettling
from gateway.settings import Settings
from gateway.store.budget_store import SqlBudgetStore
from gateway.store.migrate import upgrade
from gateway.store.provider_batch_store import SqlProviderBatchStore

CALLER = caller_for("ada", "developer")
MODELS = ["gpt-4o", "t-claude"]


class Bench:
    """A gateway's database, a provider, and a clock that the couriers go by."""

    def __init__(self, core: Core, upstream: Upstream) -> None:
        self.core = core
        self.provider = BatchUpstream(upstream)
        self.clock = ManualClock(SystemClock().now())
        self.asks = SqlProviderBatchStore(core.database, self.clock)

    async def offer(self, owner: str, *models: str) -> None:
        serving: Serving = make_serving(self.core)
        for line, model in enumerate(models, 1):
            chat = Chat(model, (Message("user", (TextPart(f"q{line}"),)),), max_tokens=9)
            call = CallContext(new_id("req"), f"{owner}:{line}:provider", "batch", task_id=owner)
            reason = await serving.offers.offer(CALLER, chat, call, owner=owner, line=line, gathering=owner)
            assert reason is None
        self.asks.seal(owner)
        self.clock.time = max(self.clock.time, SystemClock().now())
        self.clock.pass_seconds(2)
        await serving.transport.close()

    @asynccontextmanager
    async def courier(self) -> Any:
        """One of a process of its own."""
        transport = Transport()
        directory = ProviderDirectory(transport, LocalServerNote(self.core.settings.data_dir), self.clock)
        settling = BatchSettling(self.core.batch_money, self.clock, self.core.observer)
        catalogue = self.core.catalogue
        yield BatchCourier(self.asks, lambda: catalogue.current, directory, settling, self.clock, every=1)
        await transport.close()

    def budget(self) -> str:
        """A budget that binds everything."""
        store = SqlBudgetStore(self.core.database)
        raw = {"scope": "gateway", "limit_usd": "1", "window": "lifetime"}
        return BudgetService(store, self.clock).create(caller_for("root", "admin"), raw).budget_id

    def state(self, budget_id: str) -> tuple[int, int]:
        """(spent, reserved)"""
        found = SqlBudgetStore(self.core.database).get(budget_id)
        assert found is not None
        return found.spent, found.reserved

    def entries(self, owner: str) -> list[Entry]:
        found, _ = self.core.ledger.entries(UsageFilter(task_id=owner))
        return list(found)

    async def until_done(self, owner: str, courier: BatchCourier) -> None:
        for _ in range(20):
            await courier.round()
            if self.asks.totals(owner).open == 0:
                return
            self.clock.pass_seconds(30)
        raise AssertionError("its requests never ended")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running_upstream() as upstream:
        environ = {
            "GATEWAY_DATA_DIR": str(tmp_path / "data"),
            "GATEWAY_CONFIG_DIR": str(write_config(tmp_path / "config", upstream.url)),
            "OPENAI_API_KEY": "sk-test-openai-0123456789",
            "ANTHROPIC_API_KEY": "sk-ant-test-0123456789",
            "GATEWAY_EXECUTOR": "inline",
        }
        settings = Settings.read(environ, dev=True)
        settings.data_dir.mkdir()
        core = make_core(settings)
        upgrade(core.database)
        yield Bench(core, upstream)
        core.database.close()


@pytest.mark.parametrize("model", MODELS)
def test_a_process_dies_while_it_hands_over(bench: Bench, model: str) -> None:
    owner = new_id("task")

    async def story() -> None:
        await bench.offer(owner, model, model)
        bench.provider.hang.set()
        async with bench.courier() as first:
            dying = asyncio.create_task(first.round())
            await asyncio.to_thread(House.until, lambda: bench.provider.batches, bool)
            dying.cancel()  # the provider has it; nobody here knows
            await asyncio.gather(dying, return_exceptions=True)
        bench.provider.hang.clear()
        async with bench.courier() as second:
            await second.round()
            assert len(bench.provider.batches) == 1, "its lease still stands"
            bench.clock.pass_seconds(61)
            await bench.until_done(owner, second)

    asyncio.run(story())
    assert len(bench.provider.batches) == 1, "it was found, not handed over again"
    assert [ask.answer is not None for ask in bench.asks.done(owner, 0, 9)] == [True, True]
    assert len(bench.entries(owner)) == 2
    assert bench.core.ledger.verify().ok


@pytest.mark.parametrize("model", MODELS)
def test_a_process_dies_before_it_hands_over(bench: Bench, model: str) -> None:
    owner = new_id("task")

    async def story() -> None:
        await bench.offer(owner, model)
        bench.asks.gather(bench.clock.now())
        part = bench.asks.claim("dead", bench.clock.now())
        assert part is not None
        bench.asks.save(part.part_id, "dead", state="submitting", submitted_at=bench.clock.now())
        bench.clock.pass_seconds(1)
        async with bench.courier() as second:
            await bench.until_done(owner, second)

    asyncio.run(story())
    assert len(bench.provider.batches) == 1
    assert len(bench.entries(owner)) == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_process_dies_between_two_results(bench: Bench, model: str) -> None:
    owner = new_id("task")

    async def story() -> None:
        await bench.offer(owner, model, model, model)
        async with bench.courier() as courier:
            bench.provider.at_once = False
            await courier.round()
            (name,) = bench.provider.batches
            bench.provider.end(name)
            settled = threading.Event()
            money = bench.core.batch_money
            end = money.end

            def once(*args: Any, **values: Any) -> bool:
                ended = end(*args, **values)
                settled.set()
                return ended

            money.end = once  # type: ignore[method-assign]
            bench.clock.pass_seconds(2)
            dying = asyncio.create_task(courier.round())
            assert await asyncio.to_thread(settled.wait, 20)
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
            money.end = end  # type: ignore[method-assign]
        bench.clock.pass_seconds(61)
        async with bench.courier() as second:
            await bench.until_done(owner, second)

    asyncio.run(story())
    assert len({entry.cause for entry in bench.entries(owner)}) == len(bench.entries(owner)) == 3
    assert bench.core.ledger.verify().ok


def test_a_batch_that_nobody_knows_is_given_up(bench: Bench) -> None:
    owner = new_id("task")
    budget = bench.budget()

    async def story() -> None:
        await bench.offer(owner, "gpt-4o")
        bench.provider.at_once = False
        async with bench.courier() as courier:
            await courier.round()
            bench.provider.batches.clear()
            bench.clock.pass_seconds(2)
            await courier.round()
            assert bench.asks.totals(owner).open == 1
            bench.clock.pass_seconds(3 * DAY / 10**6)
            await courier.round()

    asyncio.run(story())
    (ask,) = bench.asks.done(owner, 0, 9)
    assert ask.error is not None
    assert ask.error["code"] == "no_result"
    assert "404" in ask.error["message"]
    (entry,) = bench.entries(owner)
    assert (entry.outcome, entry.cost) == ("unresolved", ask.amount), "the provider may have done it"
    assert bench.state(budget) == (ask.amount, 0)
    assert bench.core.ledger.verify().ok


def test_a_batch_that_does_not_end_is_called_off_and_given_up(bench: Bench) -> None:
    owner = new_id("task")
    budget = bench.budget()

    async def story() -> None:
        await bench.offer(owner, "gpt-4o")
        bench.provider.at_once = False
        async with bench.courier() as courier:
            await courier.round()
            bench.clock.pass_seconds(2)
            await courier.round()
            assert bench.state(budget)[1] > 0
            bench.asks.unwant(owner)
            bench.clock.pass_seconds(3 * DAY / 10**6)
            await courier.round()

    asyncio.run(story())
    (batch,) = bench.provider.batches.values()
    assert batch["status"] == "cancelling"
    (entry,) = bench.entries(owner)
    assert entry.outcome == "unresolved"
    assert bench.state(budget) == (entry.cost, 0)


def test_what_never_reached_the_provider_costs_nothing(bench: Bench) -> None:
    owner = new_id("task")
    budget = bench.budget()

    async def story() -> None:
        await bench.offer(owner, "gpt-4o")
        bench.provider.refuse = (401, {"error": {"message": "no such key", "type": "x"}})
        async with bench.courier() as courier:
            await courier.round()
            bench.clock.pass_seconds(3 * DAY / 10**6)
            await courier.round()

    asyncio.run(story())
    (ask,) = bench.asks.done(owner, 0, 9)
    assert ask.error is not None
    assert ask.error["code"] == "no_result"
    assert bench.entries(owner) == []
    assert bench.state(budget) == (0, 0)


def test_the_account_has_no_room_now(bench: Bench) -> None:
    owner = new_id("task")

    async def story() -> None:
        await bench.offer(owner, "gpt-4o")
        bench.provider.fail = "token_limit_exceeded"
        async with bench.courier() as courier:
            await courier.round()
            bench.clock.pass_seconds(2)
            await courier.round()
            bench.provider.fail = ""
            await bench.until_done(owner, courier)

    asyncio.run(story())
    assert len(bench.entries(owner)) == 1


#: A process whose courier looks for work without a pause when its main thread ends, as one that is told to.
ENDING = """
import sys, threading, time
from gateway.bootstrap import make_core
from gateway.settings import Settings
from gateway.store.migrate import upgrade
from gateway.store.provider_batch_store import SqlProviderBatchStore
from gateway.serving import batch_courier
from gateway.work_process import make_runner

seen = threading.Event()
class Store(SqlProviderBatchStore):
    def loose(self):
        seen.set()
        return super().loose()

batch_courier._REST_SECONDS = 0.0
settings = Settings.read({"GATEWAY_DATA_DIR": sys.argv[1], "GATEWAY_EXECUTOR": "inline"}, dev=True)
settings.data_dir.mkdir()
core = make_core(settings)
upgrade(core.database)
core.kept.provider_batches.__class__ = Store
runner = make_runner(core)
assert seen.wait(30)
if sys.argv[2] == "closed":
    runner.close()
"""


@pytest.mark.parametrize("how", ["closed", "left"])
def test_a_process_that_ends_says_nothing_of_its_courier(tmp_path: Path, how: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, str(tmp_path / "data"), how], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "courier" not in ended.stderr
    assert "Traceback" not in ended.stderr
