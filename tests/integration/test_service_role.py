"""A gateway that works as a role of its own: it does all of its work, and cannot change what was entered once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fixtures.gateway_process import SOURCE, GatewayProcess, start_gateway
from fixtures.house import write_config
from fixtures.upstream import Upstream, answer, openai_answer, running_upstream
from gateway.store.engine import Database
from gateway.store.service_role import ADDED_TO

CHAT = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}
ROLE = "gateway-service"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        running.play(answer(openai_answer()))
        yield running


def command(url: str, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``ai-gateway …`` on this database."""
    environ = {**os.environ, "PYTHONPATH": str(SOURCE), "DATABASE_URL": url, "GATEWAY_DATA_DIR": str(data)}
    whole = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(whole, env=environ, capture_output=True, text=True, timeout=120, check=False)


def as_role(url: str) -> str:
    return url.replace("postgres:@", f"{ROLE}:@")


def work(gateway: GatewayProcess) -> None:
    """Something of all that goes through the ledger and the engine."""
    status, _, made = gateway.request("POST", "/keys", {"name": "app", "role": "developer", "team": "red"})
    assert status == 201, made
    budget = {"scope": "team", "subject": "red", "limit_usd": "1", "window": "day"}
    assert gateway.request("POST", "/budgets", budget)[0] == 201
    status, _, body = gateway.request("POST", "/v1/chat/completions", CHAT, key=made["key"])
    assert status == 200, body
    task = {"task_type": "llm_analysis", "input_data": {"prompt": "Hello"}, "model_config": {"name": "gpt-4"}}
    status, _, body = gateway.request("POST", "/tasks", task)
    assert status == 202, body
    ended = gateway.wait_for(f"/tasks/{body['task_id']}", lambda task: task["status"] in ("completed", "failed"))
    assert ended["status"] == "completed", ended
    gateway.wait_for("/usage?by=model", lambda told: told["calls"] == 2)


def test_it_works_and_cannot_change_the_ledger(postgres_url: str, upstream: Upstream, tmp_path: Path) -> None:
    owner = Database(postgres_url)
    with owner.begin() as connection:
        connection.execute(text(f'DROP ROLE IF EXISTS "{ROLE}"'))
        connection.execute(text(f'CREATE ROLE "{ROLE}" LOGIN'))
    done = command(postgres_url, tmp_path, "db", "upgrade", "--service-role", ROLE)
    assert done.returncode == 0, done.stdout + done.stderr
    again = command(postgres_url, tmp_path, "db", "upgrade", "--service-role", ROLE)
    assert again.returncode == 0, again.stdout + again.stderr
    environ = {
        "DATABASE_URL": as_role(postgres_url),
        "GATEWAY_CONFIG_DIR": str(write_config(tmp_path / "config", upstream.url)),
        "OPENAI_API_KEY": "sk-test-0123456789",
    }
    gateway = start_gateway(tmp_path / "data", environ=environ)
    try:
        work(gateway)
    finally:
        assert gateway.stop() == 0, gateway.log.read_text()[-3000:]
    assert "permission denied" not in gateway.log.read_text()
    service = Database(as_role(postgres_url))
    for table in ADDED_TO:
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(DBAPIError, match="permission denied"), service.begin() as connection:
                connection.execute(text(statement))
    for statement in ("UPDATE entry SET cost = 0", "ALTER TABLE entry DISABLE TRIGGER ALL"):
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), service.begin() as connection:
            connection.execute(text(statement))
    service.close()
    told = command(as_role(postgres_url), tmp_path, "doctor", "--json")
    assert "no right to change it" in told.stdout
    assert "this role could change that" in command(postgres_url, tmp_path, "doctor", "--json").stdout
    for what in ("ledger", "audit"):
        proved = command(as_role(postgres_url), tmp_path / "data", what, "verify")
        assert proved.returncode == 0, proved.stdout + proved.stderr
    with owner.begin() as connection:
        connection.execute(text(f'DROP OWNED BY "{ROLE}"'))
        connection.execute(text(f'DROP ROLE "{ROLE}"'))
    owner.close()


@pytest.mark.parametrize(("role", "said"), [("nobody-here", "no role"), ("postgres", "owns the tables")])
def test_a_role_that_cannot_be_bound_is_refused(postgres_url: str, tmp_path: Path, role: str, said: str) -> None:
    done = command(postgres_url, tmp_path, "db", "upgrade", "--service-role", role)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
