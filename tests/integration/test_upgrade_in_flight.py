"""A run that an older version began goes on after an upgrade, whatever becomes of that version's processes."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fixtures.gateway_process import GatewayProcess, start_gateway
from fixtures.house import House, write_config
from fixtures.run_in_flight import RUN, RUN_ID, begin_run_in_flight, old_worker_beats, old_worker_finishes
from fixtures.upstream import Upstream, answer, openai_answer, running_upstream
from gateway.store.engine import Database
from gateway.store.migrate import upgrade

EARLIER = "Because it rains."


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        running.play(answer(openai_answer()))
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Database]]:
    """Its URL, and the database with the run in it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'gateway.db'}"
    else:
        url = str(request.getfixturevalue("postgres_url"))
    with closing(Database(url)) as opened:
        begin_run_in_flight(opened)
        yield url, opened


def start(folder: Path, url: str, upstream: Upstream) -> GatewayProcess:
    config = write_config(folder / "config", upstream.url)
    given = {"GATEWAY_CONFIG_DIR": str(config), "OPENAI_API_KEY": "sk-test-0123456789", "DATABASE_URL": url}
    return start_gateway(folder / "data", environ=given)


def end_of(gateway: GatewayProcess) -> dict[str, Any]:
    """The run once it has ended."""

    def look() -> dict[str, Any]:
        try:
            return dict(gateway.request("GET", f"/runs/{RUN_ID}")[2])
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}

    run: dict[str, Any] = House.until(look, lambda body: bool(body.get("completed_at")), seconds=60)
    assert run["status"] == "completed", run
    assert run["definition_hash"] == RUN["definition_hash"], "it ends on the version it began with"
    assert [step["step_id"] for step in run["steps"]] == ["a", "b", "c"]
    assert run["output"]["a"]["response"] == EARLIER
    assert run["steps"][0]["attempts"] == 1, "what was done is not done again"
    return run


def prompts(upstream: Upstream) -> list[str]:
    return [sent.body["messages"][-1]["content"] for sent in upstream.sent]


def test_an_old_workers_step_is_done_anew_and_the_worker_meets_the_fence(
    tmp_path: Path, upstream: Upstream, database: tuple[str, Database]
) -> None:
    url, opened = database
    gateway = start(tmp_path, url, upstream)
    try:
        assert gateway.request("GET", "/workflows/three_calls")[2]["version"] != RUN["definition_hash"]
        run = end_of(gateway)
        assert prompts(upstream) == [EARLIER, "Hello."]
        assert [(step["attempts"], step["lost"]) for step in run["steps"]] == [(1, 0), (2, 1), (1, 0)]
        assert old_worker_beats(opened) == 0
        assert old_worker_finishes(opened) == 0
        assert end_of(gateway) == run
    finally:
        assert gateway.stop() == 0


def test_what_an_old_worker_ends_after_the_upgrade_counts(
    tmp_path: Path, upstream: Upstream, database: tuple[str, Database]
) -> None:
    url, opened = database
    upgrade(opened)
    assert old_worker_beats(opened) == 1
    assert old_worker_finishes(opened) == 1
    gateway = start(tmp_path, url, upstream)
    try:
        run = end_of(gateway)
        assert run["output"]["b"]["response"] == "Because of the sea."
        assert prompts(upstream) == ["Because of the sea."]
        assert [step["attempts"] for step in run["steps"]] == [1, 1, 1]
    finally:
        assert gateway.stop() == 0
