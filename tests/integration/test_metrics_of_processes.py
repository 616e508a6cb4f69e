"""What processes without a door have counted reaches Prometheus: by a shared directory, or a page of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from fixtures.gateway_process import SOURCE
from fixtures.ledger_house import House
from fixtures.money_kit import DAY, SECOND
from gateway.clock import SystemClock
from gateway.store.engine import Database
from gateway.store.migrate import upgrade
from integration.test_rabbitmq import free_port

ANOMALY = 'gateway_spend_anomalies_total{scope="gateway"} 1.0'
#: A worker that makes one call and ends at once: what it counted was not yet shared when it was told to end.
SHORT_WORKER = """
import os
from gateway import work_process
from gateway.settings import settings_from_process
from gateway.tasks import celery_app

cores = []
make = work_process.make_core

def keep(settings):
    cores.append(make(settings))
    return cores[0]

def work(app, concurrency):
    cores[0].metrics.model_call("llm", "gpt-4", "openai", "completed", 1000, 0.25, None)

work_process.make_core, celery_app.work = keep, work
work_process.run_worker(settings_from_process())
os._exit(0)
"""


def environ(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return {
        **kept,
        "PYTHONPATH": str(SOURCE),
        "DATABASE_URL": f"sqlite:///{folder / 'gateway.db'}",
        "GATEWAY_DATA_DIR": str(folder / "data"),
        "AI_GATEWAY_HOST": "127.0.0.1",
        "CELERY_BROKER_URL": "redis://127.0.0.1:9/0",  # nothing is rung for here
        **more,
    }


def shared(folder: Path) -> str:
    """What ``/metrics`` of an API process on that directory shows."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry).decode()


def page(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:  # it is not there yet
        return ""


def spend_unusually(folder: Path) -> None:
    """Hardly anything for days, and much in this hour and (should it begin meanwhile) the next."""
    database = Database(f"sqlite:///{folder / 'gateway.db'}")
    upgrade(database)
    house = House(database, folder)
    now = SystemClock().now()
    for number, (at, cost) in enumerate([(now - 5 * DAY, "2"), (now, "50"), (now + 3600 * SECOND, "50")]):
        house.clock.time = at
        house.call(f"call-{number}", cost)
    house.calls.close()
    database.close()


@pytest.mark.parametrize("alone", [False, True], ids=["under serve", "alone"])
def test_an_alert_of_the_orchestrator_is_seen_by_prometheus(tmp_path: Path, alone: bool) -> None:
    spend_unusually(tmp_path)
    metrics, port = tmp_path / "metrics", free_port()
    metrics.mkdir()
    how = {"GATEWAY_METRICS_PORT": str(port)}
    if not alone:  # as ``serve`` starts it: the port is not opened
        how |= {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "GATEWAY_SUPERVISED": "1"}
    read: Callable[[], str] = (lambda: page(port)) if alone else (lambda: shared(metrics))
    command = [sys.executable, "-m", "gateway.cli.process", "orchestrate"]
    process = subprocess.Popen(command, env=environ(tmp_path, **how), stdin=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 40
        while ANOMALY not in (found := read()):
            assert process.poll() is None
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        assert bool(page(port)) is alone
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_a_worker_shares_its_last_figures_before_it_ends(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    upgrade(database)
    database.close()
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    how = environ(tmp_path, PROMETHEUS_MULTIPROC_DIR=str(metrics))
    subprocess.run([sys.executable, "-c", SHORT_WORKER], env=how, check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert 'gateway_model_calls_total{kind="llm",model="gpt-4",outcome="completed",provider="openai"} 1.0' in shared(
        metrics
    )


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    upgrade(database)
    database.close()
    port = free_port()
    command = [sys.executable, "-m", "gateway.cli.process", "orchestrate"]
    how = environ(tmp_path, GATEWAY_METRICS_PORT=str(port))
    first = subprocess.Popen(command, env=how, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not page(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second = subprocess.run(command, env=how, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 1
        assert "GATEWAY_METRICS_PORT" in second.stderr
    finally:
        first.terminate()
        first.wait(20)
