"""A running gateway answers as its ``/openapi.json`` says: the main doors, read and written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fixtures.gateway_process import GatewayProcess
from fixtures.house import running_house
from fixtures.interface import Interface

FLOW = {
    "workflow_id": "interface",
    "steps": [
        {"step_id": "asked", "approval": {"message": "go on?"}},
        {
            "step_id": "prepared",
            "task_type": "data_preprocessing",
            "input_mapping": {"data": "input.data"},
            "dependencies": ["asked"],
        },
    ],
}
ROWS = [{"date": f"2026-0{month}-{day:02d}", "price": 100.0 + day} for month in (1, 2) for day in range(1, 29)]
SERIES = {"series": [100.0 + day % 7 for day in range(120)], "horizon": 2}
CHAT = {"model": "smollm2", "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 4}
#: Answered only where something rare has happened before.
RARE = {
    "/dead-letters/{task_id}/replay", "/dead-letters/{task_id}", "/budgets/{budget_id}/deny", "/runs/{run_id}/resume",
    "/webhooks/deliveries/{delivery_id}", "/webhooks/deliveries/{delivery_id}/replay", "/feedback",
    "/webhooks/{subscription_id}/enable", "/v1/batches/{batch_id}/cancel", "/v1/moderations", "/v1/completions",
    "/models/{name}/promote", "/models/{name}/rollback", "/invoices/reconcile", "/ws",
}  # fmt: skip


class Asker:
    """Asks the gateway, judges each answer, and knows what was answered well."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self.interface = Interface(gateway.request("GET", "/openapi.json", key=None)[2])
        self.answered: set[tuple[str, str]] = set()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, given, answer = self._gateway.request(method, path, body, headers=named)
        self.interface.check(method, path, status, given.get("content-type", ""), answer, body)
        assert status < 300, (method, path, answer)
        self.answered.add((method, self.interface.operation(method, path)[0]))
        return answer

    def until(self, path: str, *statuses: str) -> Any:
        """The task or run at ``path``, once its status is one of these; each answer on the way is judged."""
        self._gateway.wait_for(path, lambda found: found["status"] in statuses)
        return self("GET", path)


@pytest.fixture(scope="module")
def ask(gateway: GatewayProcess) -> Asker:
    return Asker(gateway)


def test_work(ask: Asker) -> None:
    task = ask("POST", "/tasks", {"task_type": "data_preprocessing", "input_data": {"data": ROWS}}, Prefer="wait=30")
    path = f"/tasks/{task['task_id']}"
    ask.until(path, "completed")
    ask("GET", f"{path}/events")
    later = ask("POST", "/tasks", {"task_type": "data_preprocessing", "input_data": {"data": ROWS}, "delay": 3600})
    ask("DELETE", f"/tasks/{later['task_id']}")
    for listed in ("/tasks?limit=1&status=completed", "/task-types", "/dead-letters", "/approvals", "/schedules"):
        ask("GET", listed)
    ask("POST", "/workflows", FLOW)
    for read in ("/workflows", "/workflows/interface"):
        ask("GET", read)
    ask("POST", "/workflows/interface/estimate", {"input": {"data": ROWS}})
    run = ask("POST", "/workflows/interface/runs", {"input": {"data": ROWS}, "budget": {"limit_usd": "0.5"}})
    path = f"/runs/{run['run_id']}"
    ask("POST", f"{path}/pause")
    ask("POST", f"{path}/resume")
    ask("POST", f"{path}/signals/heard", {"payload": 1})
    ask("GET", "/approvals")
    ask("POST", f"{path}/approve", {"step_id": "asked", "reason": "it is right"})
    ask.until(path, "completed")
    for part in ("graph", "lineage", "events"):
        ask("GET", f"{path}/{part}")
    for listed in ("/runs?status=completed&limit=1", "/workflows/interface/runs", f"{path}/children"):
        ask("GET", listed)
    ask("POST", "/runs/prune", {"older_than_days": 30, "dry_run": True})
    for act, body in (("retry", {"from_step": "prepared"}), ("replay", None)):
        again = ask("POST", f"{path}/{act}", body)
        ask.until(f"/runs/{again['run_id']}", "completed")
    ask("GET", f"/runs/{again['run_id']}/lineage")
    for method, act in (("POST", "/cancel"), ("DELETE", "")):
        begun = ask("POST", "/workflows/interface/runs", {"input": {"data": ROWS}})
        ask(method, f"/runs/{begun['run_id']}{act}")
    cron = {"cron": "0 6 * * *", "run": {"input": {"data": ROWS}}}
    made = ask("POST", "/schedules", {"workflow_id": "interface", **cron})
    path = f"/schedules/{made['schedule_id']}"
    for method, act in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")):
        ask(method, path + act)
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    ask("POST", "/workflows/interface/backfill", {**cron, **span})


def test_models_and_calls(ask: Asker) -> None:
    for path in ("/models", "/models/smollm2", "/models/smollm2/route", "/models/risk-classifier", "/v1/models"):
        ask("GET", path)
    ask("GET", "/v1/models?limit=1", anthropic_version="2023-06-01")
    ask("GET", "/v1/models/smollm2")
    ask("POST", "/v1/chat/completions", CHAT)
    ask("POST", "/v1/chat/completions", {**CHAT, "stream": True})
    ask("POST", "/v1/messages", CHAT)
    ask("POST", "/v1/messages/count_tokens", {name: CHAT[name] for name in ("model", "messages")})
    made = ask("POST", "/v1/responses", {"model": "smollm2", "input": "Say yes.", "max_output_tokens": 16})
    for method, part in (("GET", ""), ("GET", "/input_items"), ("DELETE", "")):
        ask(method, f"/v1/responses/{made['id']}{part}")
    ask("POST", "/v1/embeddings", {"model": "minilm", "input": ["a", "b"]})
    ask("POST", "/tokens/count", {"model": "smollm2", "text": "How many?"})
    config = {"name": "smollm2", "parameters": {"max_tokens": 4}}
    ask("POST", "/execute/llm", {"model_config": config, "input_data": {"prompt": "Say yes."}})
    names = [feature["name"] for feature in ask("GET", "/models/risk-classifier")["schema"]["features"]]
    features = dict.fromkeys(names, 0.1)
    ask("POST", "/execute/ml", {"model_config": {"name": "risk-classifier"}, "input_data": {"features": features}})
    ask("POST", "/execute/ml", {"model_config": {"name": "price-forecaster"}, "input_data": SERIES})
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        ask("GET", path)
    tensor = {"name": "x", "shape": [1, len(names)], "datatype": "FP64", "data": [0.1] * len(names)}
    for path in ("/v2/models/risk-classifier", "/v2/models/risk-classifier/versions/1"):
        ask("GET", path)
        ask("GET", f"{path}/ready")
        ask("POST", f"{path}/infer", {"inputs": [tensor]})
    form = (
        b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\ncontent-disposition: form-data; '
    )
    form += b'name="file"; filename="lines.jsonl"\r\n\r\n{}\n\r\n--x--\r\n'
    kept = ask("POST", "/v1/files", form, Content_Type="multipart/form-data; boundary=x")
    path = f"/v1/files/{kept['id']}"
    batch = {"input_file_id": kept["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = ask("POST", "/v1/batches", batch)
    for read in (f"/v1/batches/{made['id']}", "/v1/batches", "/v1/files", path, f"{path}/content"):
        ask("GET", read)
    ask.until(f"/v1/batches/{made['id']}", "failed", "completed")
    ask("DELETE", path)


def test_prompts(ask: Asker) -> None:
    fields = {"template": "Sum up {{ text }}.", "variables": {"text": {"type": "string", "max_length": 99}}}
    ask("POST", "/prompts", {"name": "interface", **fields, "defaults": {"parameters": {"temperature": 0.2}}})
    ask("POST", "/prompts", {"name": "interface", "messages": [{"role": "user", "content": "{{ text }}"}]})
    label = "/prompts/interface/labels/staging"
    ask("PUT", label, {"version": 1, "reason": "a start"})
    ask("PUT", label, {"split": [{"version": 1, "weight": 1}, {"version": 2, "weight": 3}]})
    ask("POST", f"{label}/rollback", {})
    ask("POST", "/prompts/interface/render", {"variables": {"text": "this"}, "label": "staging"})
    for path in ("", "/interface", "/interface?version=1", "/interface/diff", "/interface/results?days=7"):
        ask("GET", f"/prompts{path}")
    ask("GET", label)
    ask("DELETE", label)


def test_money_and_rights(ask: Asker) -> None:
    budget = {"scope": "team", "subject": "interface", "limit_usd": "5", "window": "month", "alert_shares": ["0.5"]}
    made = ask("POST", "/budgets", budget)
    path = f"/budgets/{made['id']}"
    ask("POST", f"{path}/approve", {"amount_usd": "1.5"})
    for method in ("GET", "DELETE"):
        ask(method, path)
    limits = {"scope": "team", "subject": "interface"}
    ask("PUT", "/limits", {**limits, "requests_per_minute": 60})
    ask("GET", "/limits")
    ask("DELETE", "/limits?scope=team&subject=interface")
    key = ask("POST", "/keys", {"name": "interface", "role": "viewer", "budget": {"limit_usd": 1}})
    assert key["key"]
    for method in ("GET", "DELETE"):
        assert "key" not in ask(method, f"/keys/{key['id']}")
    hook = ask("POST", "/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["budget_alert"]})
    ask("POST", f"/webhooks/{hook['id']}/rotate", {"overlap": 60})
    ask("DELETE", f"/webhooks/{hook['id']}")
    ask("POST", "/tokens")
    day = {"since": "2026-01-01", "until": "2026-01-02"}
    ask("POST", "/prices/rerate", day)
    reads = (
        *("/usage", "/usage?by=model,day&since=36h&format=csv", "/usage/summary", "/usage/forecast", "/usage/entries"),
        *("/savings", "/savings/ratings", "/invoices?month=2026-01", "/prices", "/prices/check", "/budgets"),
        *("/keys", "/me", "/audit", "/audit/verify", "/webhooks", "/webhooks/secret", "/webhooks/deliveries"),
        *("/", "/healthz", "/readyz", "/metrics", "/stats"),
    )
    for read in reads:
        ask("GET", read)


def test_no_text_breaks_a_door_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    with running_house(tmp_path, DATABASE_URL=postgres_url) as house:
        for path, place in house.interface.document["paths"].items():
            if "{" in path:
                for method in set(place) - {"parameters"}:
                    body: dict[str, Any] | None = {} if "requestBody" in place[method] else None
                    found = house.ask(method.upper(), re.sub(r"\{\w+\}", "%00", path), body)
                    assert found.status in (404, 501), (method, path, found.body)
            for item in place.get("get", {}).get("parameters", ()):
                if item.get("in") == "query" and path != "/ws":
                    asked = re.sub(r"\{\w+\}", "x", path) + f"?{item['name']}=%00"
                    assert house.ask("GET", asked).status < 500, asked


def test_all_but_what_is_rare_was_answered(ask: Asker) -> None:
    paths = ask.interface.document["paths"]
    told = {(method.upper(), path) for path in paths for method in paths[path] if method != "parameters"}
    assert {path for _, path in told - ask.answered} <= RARE
