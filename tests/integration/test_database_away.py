"""P11: the database is away for a while under load. Calls go on while shares last, then are refused for that
reason; no valid key is turned away; afterwards the ledger has every call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from fixtures.gateway_process import GatewayProcess, start_gateway
from fixtures.house import House, write_config
from fixtures.upstream import Upstream, answer, openai_answer, running_upstream
from gateway.clock import SystemClock
from gateway.ledger.cost_tracker import Ledger
from gateway.store.engine import Database
from gateway.store.ledger_store import SqlLedgerStore

CHAT = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}
#: Longer than a key's look-up is remembered.
AWAY_SECONDS = 8.0


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        running.play(answer(openai_answer()))
        yield running


class Server:
    """A PostgreSQL server that takes nobody into one of its databases while that is shut."""

    def __init__(self, server: str, url: str) -> None:
        self._server = server
        self._name = url.rpartition("?")[0].rpartition("/")[2]

    def shut(self) -> None:
        self._run(f"ALTER DATABASE {self._name} WITH ALLOW_CONNECTIONS false")
        self._run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'")

    def open(self) -> None:
        self._run(f"ALTER DATABASE {self._name} WITH ALLOW_CONNECTIONS true")

    def _run(self, statement: str) -> None:
        admin = Database(self._server)
        with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))
        admin.close()


def make_key(gateway: GatewayProcess, name: str) -> tuple[str, str]:
    status, _, body = gateway.request("POST", "/keys", {"name": name, "role": "developer"})
    assert status == 201, body
    return body["id"], body["key"]


def in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_calls_go_on_then_say_why_not_and_nothing_is_lost(
    postgres_server: str, postgres_url: str, upstream: Upstream, tmp_path: Path
) -> None:
    server = Server(postgres_server, postgres_url)
    given = {
        "DATABASE_URL": postgres_url,
        "GATEWAY_CONFIG_DIR": str(write_config(tmp_path / "config", upstream.url)),
        "OPENAI_API_KEY": "sk-test-0123456789",
    }
    gateway = start_gateway(tmp_path / "data", environ=given)
    try:
        _, free = make_key(gateway, "free")
        bound_id, bound = make_key(gateway, "bound")
        limit = {"scope": "key", "subject": bound_id, "limit_usd": "1", "window": "day"}
        assert gateway.request("POST", "/budgets", limit)[0] == 201
        answered: list[str] = []
        refused: list[tuple[int, Any]] = []

        def call(key: str) -> int:
            status, _, body = gateway.request("POST", "/v1/chat/completions", CHAT, key=key)
            if status == 200:
                answered.append(key)
            else:
                refused.append((status, body))
            return status

        assert call(free) == call(bound) == 200
        server.shut()
        back = time.monotonic() + AWAY_SECONDS

        def free_calls() -> None:
            while time.monotonic() < back and not refused:
                call(free)

        in_threads(3, free_calls)
        assert not refused, "a call that no budget binds goes on"
        House.until(lambda: call(bound), lambda status: status != 200, seconds=30)
        ((status, body),) = refused
        assert status == 503, body
        assert "database" in body["error"]["message"]
        assert answered.count(bound) > 2, "it used what its process had set aside"
        status, _, ready = gateway.request("GET", "/readyz")
        assert (status, ready["parts"]["journal"]) == (503, "ok")
        assert "database" in ready["parts"]["database"]
        server.open()
        House.until(lambda: call(bound), lambda status: status == 200, seconds=30)
        assert {status for status, _ in refused} == {503}, "never a 401"
        assert gateway.stop() == 0, gateway.log.read_text()[-2000:]
        database = Database(postgres_url)
        ledger = Ledger(SqlLedgerStore(database), SystemClock())
        counted, report = sum(row.calls for row in ledger.summary()), ledger.verify()
        database.close()
        assert counted == len(answered) == len(upstream.sent)
        assert report.ok, report.problems
        assert list((tmp_path / "data" / "journal").iterdir()) == []
    finally:
        server.open()
        gateway.stop()
