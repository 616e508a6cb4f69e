"""Processes are killed outright while a run is on its way: it goes on, ends once, and the books agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.gateway_process import SOURCE, GatewayProcess, start_gateway
from fixtures.house import House, write_config
from fixtures.upstream import Play, Upstream, answer, openai_answer, running_upstream

ENDED = ("completed", "failed", "cancelled")
FLOW = {
    "workflow_id": "three_calls",
    "steps": [
        {
            "step_id": name,
            "task_type": "llm_analysis",
            "model_config": {"name": "gpt-4"},
            "input_mapping": {"prompt": source},
        }
        for name, source in (("a", "input.question"), ("b", "step.a.response"), ("c", "step.b.response"))
    ],
}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def start(folder: Path, upstream: Upstream, **environ: str) -> GatewayProcess:
    config = folder / "config"
    if not config.exists():
        write_config(config, upstream.url)
    given = {"GATEWAY_CONFIG_DIR": str(config), "OPENAI_API_KEY": "sk-test-0123456789", **environ}
    return start_gateway(folder / "data", environ=given)


def begin(gateway: GatewayProcess, **fields: Any) -> str:
    status, _, body = gateway.request("POST", "/workflows", FLOW | fields)
    assert status in (200, 201), body
    status, _, body = gateway.request("POST", "/workflows/three_calls/runs", {"input": {"question": "Why?"}})
    assert status == 202, body
    return str(body["run_id"])


def end_of(gateway: GatewayProcess, run_id: str) -> dict[str, Any]:
    """The run once it has ended; the API may be away for a moment."""

    def look() -> dict[str, Any]:
        try:
            return dict(gateway.request("GET", f"/runs/{run_id}")[2])
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}

    run: dict[str, Any] = House.until(look, lambda body: body.get("status") in ENDED, seconds=90)
    return run


def check(gateway: GatewayProcess, run: dict[str, Any], upstream: Upstream, **environ: str) -> None:
    """Completed, each event once, and ledger and trail in order."""
    assert run["status"] == "completed", run
    assert [step["status"] for step in run["steps"]] == ["completed"] * 3
    assert run["output"]["c"]["response"] == "Hello."
    _, _, page = gateway.request("GET", f"/runs/{run['run_id']}/events")
    events = [json.loads(line[6:]) for line in page.split("\n") if line.startswith("data: ")]
    told = [event["type"] for event in events]
    assert told.count("workflow_completed") == 1
    assert told.count("task_completed") == 3
    ids = [event["id"] for event in events]
    assert ids == sorted(set(ids))
    _, _, body = gateway.request("GET", "/usage/entries?limit=200")
    done = [entry for entry in body["entries"] if entry["outcome"] == "completed"]
    assert len(done) == 3, "each step's call is charged once"
    assert len(upstream.sent) >= 3
    for what in ("ledger", "audit"):
        given = {**os.environ, "PYTHONPATH": str(SOURCE), "GATEWAY_DATA_DIR": str(gateway.data_dir), **environ}
        command = [sys.executable, "-m", "gateway.cli.main", what, "verify"]
        proof = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
        assert proof.returncode == 0, proof.stdout + proof.stderr


@pytest.mark.parametrize("role", ["worker", "orchestrate", "api", "broker"])
def test_a_part_is_killed_in_the_middle_of_a_step(tmp_path: Path, upstream: Upstream, role: str) -> None:
    gateway = start(tmp_path, upstream)
    try:
        good = answer(openai_answer())
        upstream.play(Play(200, (), good.headers, 3.0), good)
        run_id = begin(gateway)
        House.until(lambda: upstream.sent, bool)
        children = gateway.children()
        assert role in children, children
        os.kill(children[role], signal.SIGKILL)
        run = end_of(gateway, run_id)
        check(gateway, run, upstream)
        if role == "worker":
            assert run["steps"][0]["lost"] == 1
            assert run["steps"][0]["attempts"] == 2
        House.until(gateway.children, lambda found: role in found and found[role] != children[role])
    finally:
        gateway.stop()


def test_a_person_is_asked_before_a_dead_workers_call_is_made_again(tmp_path: Path, upstream: Upstream) -> None:
    gateway = start(tmp_path, upstream)
    try:
        good = answer(openai_answer())
        upstream.play(good, Play(200, (), good.headers, 60.0), good)
        run_id = begin(gateway, on_unknown_outcome="ask")
        House.until(lambda: len(upstream.sent) == 2, bool)
        os.kill(gateway.children()["worker"], signal.SIGKILL)

        def waiting() -> list[Any]:
            return list(gateway.request("GET", "/approvals")[2]["approvals"])

        (asked,) = House.until(waiting, bool, seconds=60)
        assert (asked["run_id"], asked["step_id"], len(upstream.sent)) == (run_id, "b", 2)
        word = {"step_id": "b", "approved": True, "reason": "it costs little"}
        assert gateway.request("POST", f"/runs/{run_id}/approve", word)[0] == 200
        run = end_of(gateway, run_id)
        check(gateway, run, upstream)
        assert len(upstream.sent) == 4
        assert [told["followed_by"] for told in run["steps"][1]["calls_made_again"]] == ["ask"]
    finally:
        gateway.stop()


def test_everything_is_killed_and_started_again(tmp_path: Path, upstream: Upstream) -> None:
    good = answer(openai_answer())
    upstream.play(good, Play(200, (), good.headers, 5.0), good)
    gateway = start(tmp_path, upstream)
    run_id = begin(gateway)
    House.until(lambda: len(upstream.sent) == 2, bool)
    for pid in (gateway.process.pid, *gateway.children().values()):
        os.kill(pid, signal.SIGKILL)
    gateway.process.wait(10)
    again = start(tmp_path, upstream)
    try:
        run = end_of(again, run_id)
        check(again, run, upstream)
        assert run["steps"][0]["attempts"] == 1, "what was done is not done again"
        assert run["steps"][1]["attempts"] == 2
    finally:
        again.stop()


def test_the_same_on_postgresql(tmp_path: Path, upstream: Upstream, postgres_url: str) -> None:
    good = answer(openai_answer())
    upstream.play(Play(200, (), good.headers, 3.0), good)
    gateway = start(tmp_path, upstream, DATABASE_URL=postgres_url)
    try:
        run_id = begin(gateway)
        House.until(lambda: upstream.sent, bool)
        os.kill(gateway.children()["worker"], signal.SIGKILL)
        check(gateway, end_of(gateway, run_id), upstream, DATABASE_URL=postgres_url)
    finally:
        gateway.stop()
