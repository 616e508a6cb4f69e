"""Logs without secrets, metrics with known labels, traces passed on."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.money_kit import ManualClock
from gateway.errors import Unavailable
from gateway.events.event import EventDraft
from gateway.ledger.entry import BudgetAlert
from gateway.models.llm_models import Usage
from gateway.money import units
from gateway.registry.prompt_results import PromptResults
from gateway.telemetry.logs import request_id, set_up
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import CallObserver
from gateway.telemetry.traces import child_of

COUNTS = {"tasks": {"running": 2, "failed": 0}, "queue_depth": {"llm": 3}}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the process logs to; as before when the test is over."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    root.handlers[:], root.level = before


def test_a_line_is_json_with_its_request_and_without_secrets(stream: io.StringIO) -> None:
    set_up("info", "json", stream)
    token = request_id.set("req-7")
    try:
        raise ValueError("key sk-" + "a" * 30)
    except ValueError:
        logging.getLogger("gateway.x").exception("mail jane@example.org", extra={"header": "Bearer abcdefghijkl"})
    finally:
        request_id.reset(token)
    line = json.loads(stream.getvalue())
    assert (line["request_id"], line["level"], line["logger"]) == ("req-7", "error", "gateway.x")
    assert line["time"].endswith("Z")
    for secret in ("sk-aaa", "jane@", "abcdefghijkl"):
        assert secret not in stream.getvalue()
    assert "ValueError" in line["exception"]


def test_lines_for_people(stream: io.StringIO) -> None:
    set_up("warning", "text", stream)
    logging.getLogger("gateway.x").info("not told")
    logging.getLogger("gateway.x").warning("a %s", "thing")
    assert stream.getvalue().count("\n") == 1
    assert "warning gateway.x: a thing" in stream.getvalue()


def samples(metrics: Metrics) -> dict[str, float]:
    text = metrics.render(lambda: COUNTS).decode()
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_speak_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics = Metrics("1.2.3")
    metrics.request("GET", "/tasks/{task_id}", 200, 0.02)
    metrics.model_call("llm", "gpt-4", "openai", "completed", 1_500_000, 0.25, Usage(10, 3, 2, 0, 0, "provider"))
    metrics.budget_alert("team")
    found = samples(metrics)
    assert found["gateway_requests_total['/tasks/{task_id}', '200', 'GET']"] == 1
    assert found["gateway_model_calls_total['completed', 'gpt-4', 'llm', 'openai']"] == 1
    assert found["gateway_tokens_total['gpt-4', 'input', 'openai']"] == 10
    assert found["gateway_cost_usd_total['gpt-4', 'openai']"] == 0.25
    assert found["gateway_model_seconds_sum['gpt-4', 'llm']"] == 1.5
    assert found["gateway_tasks['running']"] == 2
    assert found["gateway_queue_depth['llm']"] == 3
    assert found["gateway_build_info['1.2.3']"] == 1
    assert found["gateway_budget_alerts_total['team']"] == 1


NO_PROMPTS = cast(PromptResults, None)  # nothing here is told of a prompt
ALERT = BudgetAlert("bud_1", "team", "risk", "day", "0.5", units("1"), units("0.6"), None, created_by="bob")


def test_an_alert_becomes_an_event_and_never_an_error(caplog: pytest.LogCaptureFixture) -> None:
    told: list[EventDraft] = []

    def notify(draft: EventDraft, _now: int, owners: Sequence[str]) -> None:
        told.append(draft)
        assert list(owners) == ["alice", "bob"]

    observer = CallObserver(Metrics("1"), notify, ManualClock(), NO_PROMPTS)
    observer.alerts("alice", ())
    assert told == []
    observer.alerts("alice", (ALERT,))
    assert told[0].type == "budget_alert"
    assert str(told[0].payload["spent_usd"]) == "0.6"

    def broken(_draft: EventDraft, _now: int, _owners: Sequence[str]) -> None:
        raise Unavailable("away")

    CallObserver(Metrics("1"), broken, ManualClock(), NO_PROMPTS).alerts("alice", (ALERT,))
    assert "could not be told" in caplog.text


def test_a_trace_goes_through_us() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    child = child_of(parent)
    assert child.split("-")[1] == parent.split("-")[1]
    assert child.split("-")[2] != parent.split("-")[2]
    assert child.endswith("-01")
    for bad in ("", "x", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", parent + "\n evil"):
        assert "4bf92f35" not in child_of(bad)
