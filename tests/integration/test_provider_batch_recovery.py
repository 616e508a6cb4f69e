"""The worker is killed, then the whole gateway started anew, while a batch is with its provider: nothing is lost,
nothing handed over or paid twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import openai
import pytest

from fixtures.batch_upstream import BatchUpstream
from fixtures.gateway_process import GatewayProcess, start_gateway
from fixtures.house import House, write_config
from fixtures.upstream import running_upstream
from gateway import upkeep
from gateway.settings import Settings
from unit.api.test_batches_door import hand_in, line, told

TASK = {
    "task_type": "llm_analysis",
    "model_config": {"name": "gpt-4o", "batch": True, "parameters": {"max_tokens": 9}},
    "input_data": {"prompt": "t"},
}


def test_a_batch_at_a_provider_outlives_every_process(tmp_path: Path) -> None:
    with running_upstream() as upstream:
        provider = BatchUpstream(upstream)
        provider.at_once = False
        environ = {
            "GATEWAY_CONFIG_DIR": str(write_config(tmp_path / "config", upstream.url)),
            "OPENAI_API_KEY": "sk-test-openai-0123456789",
            "ANTHROPIC_API_KEY": "sk-ant-test-0123456789",
            "GATEWAY_BATCH_POLL": "1",
        }
        gateway = start_gateway(tmp_path / "data", environ=environ)
        try:
            budget = gateway.request("POST", "/budgets", {"scope": "gateway", "limit_usd": "1", "window": "lifetime"})
            batch_id, task_id = _handed_in(gateway, provider)
            set_aside = _budget(gateway, budget[2]["id"])
            assert set_aside["reserved_usd"] > 0
            os.kill(gateway.children()["worker"], signal.SIGKILL)
        finally:
            gateway.stop()
        _verified(tmp_path / "data", environ)
        for name in provider.batches:
            provider.end(name)
        gateway = start_gateway(tmp_path / "data", environ=environ)
        try:
            _ended(gateway, batch_id, task_id)
            paid = _budget(gateway, budget[2]["id"])
            _, _, page = gateway.request("GET", "/usage/entries?limit=200")
            assert paid["reserved_usd"] == 0
            assert 0 < paid["spent_usd"] < set_aside["reserved_usd"]
            assert paid["spent_usd"] == pytest.approx(sum(entry["cost"] for entry in page["entries"]))
        finally:
            gateway.stop()
        _verified(tmp_path / "data", environ)
        assert len(provider.batches) == 3
        assert upstream.sent == [], "no request was asked alone"


def _handed_in(gateway: GatewayProcess, provider: BatchUpstream) -> tuple[str, str]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        lines = [line("a", model="gpt-4o"), line("b", model="gpt-4o"), line("c", model="t-claude")]
        batch = hand_in(client, lines)
    status, _, task = gateway.request("POST", "/tasks", TASK)
    assert status == 202
    House.until(lambda: sum(map(len, provider.requests.values())), lambda count: count == 4, seconds=60)
    return batch.id, str(task["task_id"])


def _budget(gateway: GatewayProcess, budget_id: str) -> dict[str, Any]:
    _, _, body = gateway.request("GET", "/budgets")
    (found,) = [item for item in body["budgets"] if item["id"] == budget_id]
    return dict(found)


def _verified(data: Path, environ: dict[str, str]) -> None:
    """While nothing runs, the ledger adds up."""
    report = upkeep.verify_ledger(Settings.read({**environ, "GATEWAY_DATA_DIR": str(data)}, dev=True))
    assert report.ok, report.problems


def _ended(gateway: GatewayProcess, batch_id: str, task_id: str) -> None:
    task: dict[str, Any] = gateway.wait_for(f"/tasks/{task_id}", lambda body: body["status"] == "completed")
    assert task["result"]["response"] == "t!"
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        batch = House.until(lambda: client.batches.retrieve(batch_id), lambda found: found.completed_at, seconds=120)
        assert [item["custom_id"] for item in told(client, batch.output_file_id)] == ["a", "b", "c"]
    _, _, page = gateway.request("GET", "/usage/entries?limit=200")
    causes = sorted(entry["cause"] for entry in page["entries"])
    assert len(causes) == len(set(causes)) == 4
    assert [cause for cause in causes if cause.startswith(batch_id)] == [
        f"{batch_id}:{at}:provider" for at in (1, 2, 3)
    ]
