"""Runs that ended long ago are removed by a person or by the sweep; what reads them hears that they are gone."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from fixtures.house import House, running_house
from fixtures.money_kit import DAY
from fixtures.upstream import answer, openai_answer
from gateway.cli.runs import make_app
from gateway.errors import ConfigurationInvalid, NotFound, Unavailable, ValidationFailed
from gateway.settings import Settings
from gateway.store.artifact_collection import ArtifactCollector, Collected
from gateway.store.tables import entry, idempotency, run, step
from gateway.work_process import make_orchestrator, make_retention

TASK = {"task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_data": {"prompt": "Why?"}}
ASKED = {"workflow_id": "asked", "steps": [{"step_id": "only", "task_type": "llm_analysis", "approval": {},
         "model_config": {"name": "gpt-4"}, "input_mapping": {"prompt": "input.q"}}]}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("pruned"), GATEWAY_KEEP_RUNS_DAYS="30") as running:
        yield running


def done(house: House, headers: dict[str, str] | None = None, text: str = "Because.") -> dict[str, Any]:
    """A task that has ended; its run's id is in it."""
    house.upstream.play(answer(openai_answer(text)))
    made = house.ask("POST", "/tasks", TASK, headers=headers)
    assert made.status == 202, made.body
    return house.ended(f"/tasks/{made.body['task_id']}")


def aged(house: House, *tasks: dict[str, Any], days: int = 100) -> None:
    """Their runs ended that long ago."""
    ids = [task["run_id"] for task in tasks]
    house.quiet()
    with house.core.database.begin() as connection:
        past = {"created_at": run.c.created_at - days * DAY, "completed_at": run.c.completed_at - days * DAY}
        connection.execute(update(run).where(run.c.run_id.in_(ids)).values(past))


def prune(house: House, **body: Any) -> dict[str, Any]:
    found = house.ask("POST", "/runs/prune", {"older_than_days": 90, **body})
    assert found.status == 200, found.body
    return dict(found.body)


def test_what_is_removed_is_told_before_and_after_and_is_on_record(house: House) -> None:
    old, young = done(house, text="a" * 70_000), done(house)
    aged(house, old)
    told = prune(house, dry_run=True)
    assert (told["runs"], told["steps"], told["dry_run"], told["more"]) == (1, 1, True, False)
    assert told["events"] > 2
    assert house.ask("GET", f"/tasks/{old['task_id']}").status == 200
    removed = prune(house)
    assert [removed[name] for name in ("runs", "steps", "events")] == [told["runs"], told["steps"], told["events"]]
    assert house.ask("GET", f"/tasks/{young['task_id']}").status == 200
    record = house.ask("GET", "/audit?action=runs.prune").body["records"][0]
    assert (record["actor"], record["detail"]["runs"], record["detail"]["before"]) == ("admin", 1, removed["before"])
    with house.core.database.read() as connection:
        assert connection.scalar(select(entry.c.entry_id).where(entry.c.run_id == old["run_id"])) is not None
    assert house.core.ledger.verify().ok


def test_what_reads_a_run_that_is_gone_is_told_so(house: House) -> None:
    old = done(house)
    aged(house, old)
    assert prune(house)["runs"] == 1
    run_id, task_id = old["run_id"], old["task_id"]
    for method, path in (
        ("GET", f"/runs/{run_id}"),
        ("GET", f"/runs/{run_id}/events"),
        ("GET", f"/runs/{run_id}/lineage"),
        ("POST", f"/runs/{run_id}/retry"),
        ("POST", f"/runs/{run_id}/replay"),
        ("GET", f"/tasks/{task_id}"),
        ("GET", f"/tasks/{task_id}/events"),
    ):
        found = house.ask(method, path, {} if method == "POST" else None, headers={"last-event-id": "3"})
        assert (found.status, found.body["code"]) == (404, "not_found"), (path, found.body)
        assert "removed" in found.body["mend"], found.body
    assert run_id not in json.dumps(house.ask("GET", "/runs").body)


def test_a_key_of_a_request_whose_run_is_gone_begins_anew(house: House) -> None:
    headers = {"idempotency-key": "of-old"}
    old = done(house, headers)
    aged(house, old, days=2)
    with house.core.database.begin() as connection:
        past = {"created_at": idempotency.c.created_at - 2 * DAY}
        connection.execute(update(idempotency).where(idempotency.c.key == "of-old").values(past))
    assert prune(house, older_than_days=1)["runs"] == 1
    again = done(house, headers)
    assert again["task_id"] != old["task_id"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "older_than_days"),
        ({"older_than_days": 0}, "older_than_days"),
        ({"older_than_days": True}, "older_than_days"),
        ({"older_than_days": 40_000}, "older_than_days"),
        ({"older_than_days": 9, "dry_run": "no"}, "dry_run"),
        ({"older_than_days": 9, "all": 1}, "all"),
    ],
)
def test_what_is_asked_wrongly_is_refused(house: House, body: dict[str, Any], param: str) -> None:
    found = house.ask("POST", "/runs/prune", body)
    assert (found.status, found.body["param"]) == (422, param), found.body


def test_only_who_may_removes(house: House) -> None:
    for role in ("viewer", "developer", "analyst", "operator"):
        assert house.ask("POST", "/runs/prune", {"older_than_days": 9}, key=house.key(role)).status == 403


def test_a_stream_of_a_run_that_goes_meanwhile_ends(house: House) -> None:
    assert house.ask("POST", "/workflows", ASKED).status == 201
    run_id = house.ask("POST", "/workflows/asked/runs", {"input": {"q": "?"}}).body["run_id"]
    House.until(lambda: house.ask("GET", f"/runs/{run_id}").body["steps"][0]["status"], lambda got: got == "waiting")
    listener = http.client.HTTPConnection(house.url.removeprefix("http://"), timeout=30)
    listener.request("GET", f"/runs/{run_id}/events", headers={"authorization": f"Bearer {house.key('admin')}"})
    stream = listener.getresponse()
    assert stream.readline().startswith(b"id: ")
    with house.core.database.begin() as connection:  # it has ended long ago, and nobody was told
        connection.execute(update(step).where(step.c.run_id == run_id).values(state="cancelled", completed_at=1))
        ended = {"status": "cancelled", "created_at": 1, "completed_at": 2}
        connection.execute(update(run).where(run.c.run_id == run_id).values(ended))
    assert prune(house)["runs"] == 1
    assert b"workflow_started" in stream.read(), "to its end, which is not cut"
    listener.close()


def test_who_resumes_from_an_event_that_is_gone_goes_on_with_what_there_is(house: House) -> None:
    old, young = done(house), done(house)
    aged(house, old)
    first = house.services.events.after(0, run_id=old["run_id"])[0].id
    assert prune(house)["runs"] == 1

    async def listen() -> list[dict[str, Any]]:
        headers = {"authorization": f"Bearer {house.key('admin')}"}
        address = f"{house.url}/ws?last_event_id={first}"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, headers=headers) as socket:
            found: list[dict[str, Any]] = []
            while not found or found[-1]["run_id"] != young["run_id"]:
                found.append(await socket.receive_json(timeout=20))
            return found

    assert old["run_id"] not in {event["run_id"] for event in asyncio.run(listen())}

    async def ask_for_the_old() -> dict[str, Any]:
        headers = {"authorization": f"Bearer {house.key('admin')}"}
        address = f"{house.url}/ws?run_id={old['run_id']}&last_event_id={first}"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, headers=headers) as socket:
            return dict(await socket.receive_json(timeout=20))

    told = asyncio.run(ask_for_the_old())
    assert (told["type"], told["error"]["code"]) == ("error", "not_found")


def test_the_sweep_keeps_what_the_setting_says(house: House) -> None:
    old, older = done(house), done(house)
    aged(house, old, days=29)
    aged(house, older, days=31)
    stop = threading.Event()
    orchestrator = make_orchestrator(house.core, house.services.desk.maker.executor)
    sweeping = threading.Thread(target=orchestrator.run, args=(stop,))
    sweeping.start()
    try:
        House.until(lambda: house.ask("GET", f"/tasks/{older['task_id']}").status, lambda status: status == 404)
    finally:
        stop.set()
        sweeping.join(30)
    assert house.ask("GET", f"/tasks/{old['task_id']}").status == 200
    record = house.ask("GET", "/audit?action=runs.prune").body["records"][0]
    assert (record["actor"], record["detail"]["runs"]) == ("gateway", 1)


def test_a_place_that_is_away_keeps_nobody_from_the_sweep(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_collector: ArtifactCollector, _shard: str) -> Collected:
        raise Unavailable("the bucket does not answer")

    monkeypatch.setattr(ArtifactCollector, "collect", away)
    older = done(house)
    aged(house, older, days=31)
    assert make_retention(house.core).sweep() == 1
    refused = house.ask("POST", "/runs/prune", {"older_than_days": 90})
    assert (refused.status, refused.body["detail"]) == (503, "the bucket does not answer")


def test_by_default_nothing_is_removed_and_a_wrong_setting_is_refused(tmp_path: Path) -> None:
    assert Settings.read({"GATEWAY_DATA_DIR": str(tmp_path)}, dev=True).keep_runs_days == 0
    for wrong in ("-1", "a month", "1.5", "36501"):
        with pytest.raises(ConfigurationInvalid, match="GATEWAY_KEEP_RUNS_DAYS"):
            Settings.read({"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_KEEP_RUNS_DAYS": wrong}, dev=True)


def test_the_command_tells_asks_and_removes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
    old = done(house)
    aged(house, old)
    app, command = make_app(), ["prune", "--older-than", "90d"]
    told = CliRunner().invoke(app, [*command, "--dry-run"])
    assert told.exit_code == 0, told.output
    assert "1 runs, 1 steps" in told.output
    assert json.loads(CliRunner().invoke(app, [*command, "--dry-run", "--json"]).output)["runs"] == 1
    refused = CliRunner().invoke(app, command, input="n\n")
    assert refused.exit_code == 1
    assert "remove it for good?" in refused.output
    assert house.ask("GET", f"/tasks/{old['task_id']}").status == 200
    unasked = CliRunner().invoke(app, [*command, "--json"])
    assert isinstance(unasked.exception, ValidationFailed)
    assert CliRunner().invoke(app, command, input="y\n").exit_code == 0
    gone = CliRunner().invoke(app, ["show", old["run_id"]])
    assert isinstance(gone.exception, NotFound), gone.output
    for _ in range(2):
        aged(house, done(house))
    removed = CliRunner().invoke(app, ["prune", "--older-than", "12w", "--yes", "--json"])
    assert (json.loads(removed.output)["runs"], json.loads(removed.output)["more"]) == (2, False)
    for wrong in ("90", "d", "0d", "1y", "-3d"):
        refused = CliRunner().invoke(app, ["prune", f"--older-than={wrong}"])
        assert isinstance(refused.exception, ValidationFailed), wrong
