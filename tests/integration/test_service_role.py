"""The service as a role of PostgreSQL that owns nothing: it works, and may not change what is written once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from fixtures.gateway_process import GatewayProcess, start_gateway
from fixtures.house import write_config
from fixtures.ledger_house import House, HouseFixture
from fixtures.upstream import answer, openai_answer, running_upstream
from gateway import upkeep
from gateway.cli.main import make_app
from gateway.errors import ConfigurationInvalid
from gateway.ids import new_id
from gateway.money import units
from gateway.settings import settings_from_process
from gateway.store.engine import Database
from gateway.store.rights import WRITTEN_ONCE, changeable


@pytest.fixture
def service_url(postgres_url: str) -> str:
    """The address of the same database for a role that is not there yet."""
    role = new_id("service")
    return make_url(postgres_url).set(username=role, password="it's 100 %").render_as_string(hide_password=False)


@pytest.fixture
def database(postgres_url: str, service_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """As the service reaches it, after an upgrade by the command."""
    monkeypatch.setenv("DATABASE_URL", service_url)
    monkeypatch.setenv("GATEWAY_DATABASE_OWNER_URL", postgres_url)
    for _ in range(2):
        done = CliRunner().invoke(make_app(["db", "ledger"]), ["db", "upgrade"])
        assert done.exit_code == 0, done.output
    database = Database(service_url)
    yield database
    database.close()


class TestServiceRole(HouseFixture):
    """The ledger, through the service's own role."""

    def test_calls_are_charged_and_proved(self, house: House) -> None:
        budget = house.budget("1")
        house.call("a", "0.3", "0.2")
        house.rest()
        assert house.state(budget) == (units("0.2"), 0)
        house.whole()

    @pytest.mark.parametrize("table", WRITTEN_ONCE)
    @pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}", "ALTER TABLE {} DISABLE TRIGGER ALL"])
    def test_what_is_written_once_is_out_of_its_reach(self, database: Database, table: str, statement: str) -> None:
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), database.begin() as connection:
            connection.execute(text(statement.format(table)))

    def test_an_update_is_refused_by_right_and_not_by_trigger(self, database: Database) -> None:
        with pytest.raises(DBAPIError, match="permission denied"), database.begin() as connection:
            connection.execute(text("UPDATE entry SET cost = 0"))
        with database.read() as connection:
            assert changeable(connection) == ()


def test_a_whole_gateway_works_so(database: Database, service_url: str, tmp_path: Path) -> None:
    """Its processes, a call at a door and one within a step; and nothing of it was refused."""
    with database.read() as connection:
        assert changeable(connection) == ()
    with running_upstream() as upstream:
        upstream.play(answer(openai_answer()))
        config = str(write_config(tmp_path / "config", upstream.url))
        environ = {"DATABASE_URL": service_url, "GATEWAY_CONFIG_DIR": config, "OPENAI_API_KEY": "sk-test-0123456789"}
        gateway = start_gateway(tmp_path / "data", environ=environ)
        try:
            work(gateway)
        finally:
            status = gateway.stop()
    told = gateway.log.read_text()
    assert (status, "permission denied" in told) == (0, False), told[-3000:]


def work(gateway: GatewayProcess) -> None:
    """Something of all that goes through the ledger and the engine."""
    status, _, made = gateway.request("POST", "/keys", {"name": "app", "role": "developer", "team": "red"})
    assert status == 201, made
    budget = {"scope": "team", "subject": "red", "limit_usd": "1", "window": "day"}
    assert gateway.request("POST", "/budgets", budget)[0] == 201
    chat = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}
    status, _, body = gateway.request("POST", "/v1/chat/completions", chat, key=made["key"])
    assert status == 200, body
    task = {"task_type": "llm_analysis", "input_data": {"prompt": "Hello"}, "model_config": {"name": "gpt-4"}}
    status, _, body = gateway.request("POST", "/tasks", task)
    assert status == 202, body
    ended = gateway.wait_for(f"/tasks/{body['task_id']}", lambda task: task["status"] in ("completed", "failed"))
    assert ended["status"] == "completed", ended
    gateway.wait_for("/usage?by=model", lambda told: told["calls"] == 2)


def test_the_doctor_says_where_only_triggers_refuse(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    settings = settings_from_process(dev=True)
    upkeep.upgrade_database(settings)
    assert "entry" in upkeep.check_rights(settings)


def test_the_owner_is_no_role_for_the_service(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    with pytest.raises(ConfigurationInvalid, match="no role of its own"):
        upkeep.upgrade_database(settings_from_process(dev=True), postgres_url)


def test_who_may_not_make_the_schema_is_told_who_may(
    postgres_url: str, service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = make_url(service_url).username
    owner = Database(postgres_url)
    with owner.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
    owner.close()
    monkeypatch.setenv("DATABASE_URL", service_url)
    assert "GATEWAY_DATABASE_OWNER_URL" not in os.environ
    with pytest.raises(ConfigurationInvalid, match="may not change the schema"):
        upkeep.upgrade_database(settings_from_process(dev=True))
