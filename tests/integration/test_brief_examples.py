"""The platform's own example bodies, sent as they are to a whole running gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from fixtures.gateway_process import GatewayProcess

BRIEF_TASK = {
    "task_type": "llm_analysis",
    "model_config": {"name": "gpt-4", "provider": "openai", "parameters": {"temperature": 0.7}},
    "input_data": {"prompt": "Analyze the risk profile of this portfolio"},
}

RISK_ANALYSIS = {
    "workflow_id": "risk_analysis",
    "name": "Risk Analysis Workflow",
    "steps": [
        {
            "step_id": "data_prep",
            "task_type": "data_preprocessing",
            "input_mapping": {"data": "input.market_data"},
            "output_mapping": {"processed_data": "processed_data"},
        },
        {
            "step_id": "anomaly_check",
            "task_type": "anomaly_detection",
            "input_mapping": {"data": "step.data_prep.processed_data"},
            "dependencies": ["data_prep"],
        },
        {
            "step_id": "risk_classify",
            "task_type": "risk_classification",
            "input_mapping": {"features": "step.data_prep.processed_data"},
            "dependencies": ["data_prep"],
        },
        {
            "step_id": "llm_analysis",
            "task_type": "llm_analysis",
            "input_mapping": {"prompt": "input.analysis_prompt"},
            "dependencies": ["anomaly_check", "risk_classify"],
        },
    ],
}

ENDED = ("completed", "failed", "cancelled")


def test_the_task_of_the_brief_is_accepted_and_ends_with_a_reason_where_no_key_is_set(gateway: GatewayProcess) -> None:
    status, headers, body = gateway.request("POST", "/tasks", BRIEF_TASK)
    assert status == 202, body
    assert headers["location"] == f"/tasks/{body['task_id']}"
    assert body["status"] in ("pending", "running")
    task = gateway.wait_for(f"/tasks/{body['task_id']}", lambda task: task["status"] in ENDED)
    assert task["status"] == "failed"
    assert task["error"]["code"] == "provider_not_configured"
    assert task["cost"] == 0
    assert task["created_at"].endswith("Z")


def test_a_task_for_the_local_model_completes(gateway: GatewayProcess) -> None:
    given = {
        "task_type": "llm_analysis",
        "model_config": {"name": "smollm2"},
        "input_data": {"prompt": "What is a bond?"},
    }
    status, _, body = gateway.request("POST", "/tasks", given, headers={"Prefer": "wait=30"})
    assert status in (200, 202), body
    task = gateway.wait_for(f"/tasks/{body['task_id']}", lambda task: task["status"] in ENDED)
    assert task["status"] == "completed", task
    assert task["result"]["response"].strip()
    assert task["result"]["usage"]["completion_tokens"] > 0
    assert task["attempts"] == 1


def test_execute_llm_answers_at_once(gateway: GatewayProcess) -> None:
    body = {
        "model_config": {"name": "smollm2", "parameters": {"max_tokens": 16}},
        "input_data": {"prompt": "Say hello."},
    }
    status, headers, answer = gateway.request("POST", "/execute/llm", body)
    assert status == 200, answer
    assert answer["response"]
    assert answer["provider"] == "local"
    assert answer["tokens_used"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert answer["finish_reason"] in ("stop", "length")
    assert headers["x-gateway-model"] == "smollm2"


def test_execute_ml_answers_with_the_features_that_the_model_names(gateway: GatewayProcess) -> None:
    model = _trained(gateway, "risk-classifier")
    middle = {item["name"]: (item["minimum"] + item["maximum"]) / 2 for item in model["schema"]["features"]}
    body = {"model_config": {"name": "risk-classifier"}, "input_data": {"features": middle}}
    status, _, answer = gateway.request("POST", "/execute/ml", body)
    assert status == 200, answer
    (row,) = answer["predictions"]
    assert row["label"] in ("low", "medium", "high")
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_an_unknown_task_type_is_refused_with_the_known_ones(gateway: GatewayProcess) -> None:
    status, _, body = gateway.request("POST", "/tasks", {"task_type": "tea_leaves", "input_data": {}})
    assert 400 <= status < 500
    for known in ("llm_analysis", "risk_classification", "model_training", "price_forecast"):
        assert known in json.dumps(body)


def test_every_family_has_a_model_with_version_metrics_and_schema(gateway: GatewayProcess) -> None:
    families = {}
    for name in ("risk-classifier", "volatility-regressor", "market-anomaly", "price-forecaster", "portfolio-segments"):
        model = _trained(gateway, name)
        families[model["type"]] = model
        assert model["versions"][0]["metrics"]
        assert len(model["versions"][0]["artifact"]) == 64
    assert set(families) == {"classification", "regression", "anomaly_detection", "time_series", "clustering"}


def test_the_risk_workflow_of_the_brief_runs_as_written_and_tells_its_progress(gateway: GatewayProcess) -> None:
    for name in ("risk-classifier", "market-anomaly"):
        _trained(gateway, name)
    status, _, defined = gateway.request("POST", "/workflows", RISK_ANALYSIS)
    assert status in (200, 201), defined
    types, run = asyncio.run(_follow(gateway))
    assert run["status"] == "completed", run
    assert {"workflow_started", "task_started", "task_completed", "workflow_progress", "workflow_completed"} <= types
    steps = {step["step_id"]: step for step in run["steps"]}
    months = {row["date"][:7] for row in steps["anomaly_check"]["result"]["anomalies"]}
    assert {"2008-10", "2020-03"} <= months
    assert steps["risk_classify"]["result"]["risk_level"] in ("low", "medium", "high")
    text = steps["llm_analysis"]["result"]
    assert text["response"].strip()
    assert all(number["status"] in ("traced", "flagged") for number in text["numbers"])


async def _follow(gateway: GatewayProcess) -> tuple[set[str], dict[str, Any]]:
    """Starts a run and reads the WebSocket until it has ended: (event types seen, run)."""
    credential = {"Authorization": f"Bearer {gateway.key}"}
    types: set[str] = set()
    async with aiohttp.ClientSession(gateway.url, headers=credential) as http:
        given = {"input": {"market_data": {"dataset": "sp500-20"}, "analysis_prompt": "Summarise the risk."}}
        async with http.post("/workflows/risk_analysis/runs", json=given) as answer:
            assert answer.status == 202, await answer.text()
            run_id = (await answer.json())["run_id"]
        # Asked in the address: what came before a ``subscribe`` message would be told again after it.
        async with http.ws_connect(f"/ws?run_id={run_id}&last_event_id=0") as socket:
            last = 0
            async for message in socket:
                event = json.loads(message.data)
                assert event["run_id"] == run_id
                assert event["id"] > last, "ids only grow"
                last = event["id"]
                types.add(event["type"])
                if event["type"] in ("workflow_completed", "workflow_failed"):
                    break
        async with http.get(f"/runs/{run_id}") as answer:
            return types, await answer.json()


def _trained(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    """The model's page once its first version is registered."""
    model: dict[str, Any] = gateway.wait_for(f"/models/{name}", lambda model: bool(model.get("versions")))
    return model
