"""Tasks, workflows and what is told of them: submitted, followed, cancelled, repeated, delivered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fixtures.house import ROOT_KEY, House, running_house
from fixtures.upstream import Upstream, answer, openai_answer, running_upstream
from gateway.events.outbox import signature

TASK = {"task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_data": {"prompt": "Why?"}}
FLOW = {
    "workflow_id": "two_steps",
    "name": "Two steps",
    "steps": [
        {
            "step_id": "first",
            "task_type": "llm_analysis",
            "model_config": {"name": "gpt-4"},
            "input_mapping": {"prompt": "input.question"},
        },
        {
            "step_id": "second",
            "task_type": "llm_analysis",
            "model_config": {"name": "gpt-4"},
            "input_mapping": {"prompt": "step.first.response"},
        },
    ],
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Upstream]:
    """Somebody who takes webhooks."""
    with running_upstream() as running:
        yield running


def test_a_task_from_submission_to_result(house: House) -> None:
    house.upstream.play(answer(openai_answer("Because.")))
    found = house.ask("POST", "/tasks", {**TASK, "metadata": {"desk": "rates"}, "priority": 8})
    assert found.status == 202, found.body
    assert found.headers["location"] == f"/tasks/{found.body['task_id']}"
    task = house.ended(f"/tasks/{found.body['task_id']}")
    assert task["status"] == "completed", task
    assert task["result"]["response"] == "Because."
    assert task["cost"] > 0
    assert (task["metadata"], task["priority"], task["attempts"]) == ({"desk": "rates"}, 8, 1)


def test_an_answer_may_be_waited_for(house: House) -> None:
    house.upstream.play(answer(openai_answer("Now.")))
    found = house.ask("POST", "/tasks", TASK, headers={"prefer": "wait=20"})
    assert found.body["status"] == "completed"
    assert found.body["result"]["response"] == "Now."


def test_an_unknown_type_lists_the_known(house: House) -> None:
    found = house.ask("POST", "/tasks", {**TASK, "task_type": "tea_making"})
    assert 400 <= found.status < 500
    for name in ("llm_analysis", "data_preprocessing", "price_forecast", "model_training"):
        assert name in found.body["details"]["known"]
    types = house.ask("GET", "/task-types").body["task_types"]
    assert {row["name"] for row in types} == set(found.body["details"]["known"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input_data": {}}, "input_data.prompt"),
        ({"input_data": {"promt": "x"}}, "input_data.promt"),
        ({"model_config": {"name": "gpt-9"}}, "model"),
        ({"model_config": {"name": "risk-classifier"}}, "model_config.name"),
        ({"model_config": {"name": "minilm"}}, "model_config.name"),
        ({"model_config": {"name": "gpt-4", "provider": "anthropic"}}, "model_config.provider"),
        ({"model_config": {"name": "gpt-4", "api_key": "sk-x"}}, "model_config.api_key"),
        ({"model_config": {"name": "gpt-4", "parameters": {"temperature": 7}}}, "model_config.parameters.temperature"),
        ({"priority": 11}, "priority"),
        ({"timeout": -1}, "timeout"),
        ({"metadata": []}, "metadata"),
        ({"webhook_url": "http://169.254.169.254/latest"}, "url"),
        ({"webhook_url": "file:///etc/passwd"}, "url"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_task_is_refused_with_the_place(house: House, change: dict[str, Any], param: str) -> None:
    found = house.ask("POST", "/tasks", {**TASK, **change})
    assert found.status in (404, 422), found.body
    assert found.body["param"] == param
    assert found.body["detail"]


def test_a_failure_is_told_with_its_reason(house: House) -> None:
    house.upstream.play(answer({"error": {"message": "no such field"}}, 400))
    task = house.ended(f"/tasks/{house.ask('POST', '/tasks', TASK).body['task_id']}")
    assert task["status"] == "failed"
    assert task["error"]["code"] == "upstream_rejected"
    assert "no such field" in task["error"]["message"]


@pytest.mark.parametrize("path", ["/tasks", "/runs"])
def test_an_unknown_status_is_refused_and_the_known_are_named(house: House, path: str) -> None:
    refused = house.ask("GET", f"{path}?status=zz")
    assert refused.status == 422
    assert "completed" in refused.body["detail"]
    assert house.ask("GET", f"{path}?status=completed").status == 200


def test_the_same_key_and_body_give_the_same_task(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    headers = {"idempotency-key": "order-1"}
    first = house.ask("POST", "/tasks", TASK, headers=headers)
    again = house.ask("POST", "/tasks", TASK, headers=headers)
    assert again.body["task_id"] == first.body["task_id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = house.ask("POST", "/tasks", {**TASK, "priority": 2}, headers=headers)
    assert other.status in (409, 422)
    assert other.body["code"].startswith("idempotency")
    stranger = house.ask("POST", "/tasks", TASK, headers=headers, key=house.key("developer"))
    assert stranger.body["task_id"] != first.body["task_id"]


def test_work_is_its_owners(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    mine = house.key("developer", principal="owner")
    task_id = house.ask("POST", "/tasks", TASK, key=mine).body["task_id"]
    stranger = house.key("developer")
    for method in ("GET", "DELETE"):
        assert house.ask(method, f"/tasks/{task_id}", key=stranger).status == 404
    assert house.ask("GET", f"/tasks/{task_id}/events", key=stranger).status == 404
    assert task_id not in json.dumps(house.ask("GET", "/tasks", key=stranger).body)
    assert house.ask("GET", f"/tasks/{task_id}", key=house.key("operator")).status == 200


def test_a_workflow_is_defined_run_and_drawn(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("One")), answer(openai_answer("Two")))
    assert house.ask("POST", "/workflows", FLOW).status == 201
    found = house.ask("POST", "/workflows/two_steps/runs", {"input": {"question": "What?"}})
    assert found.status == 202, found.body
    run = house.ended(f"/runs/{found.body['run_id']}")
    assert run["status"] == "completed", run
    assert run["output"]["second"]["response"] == "Two"
    assert house.upstream.sent[1].body["messages"][-1]["content"] == "One"
    graph = house.ask("GET", f"/runs/{run['run_id']}/graph").body
    assert graph["edges"] == [{"from": "first", "to": "second"}]
    assert {node["status"] for node in graph["nodes"]} == {"completed"}
    assert run["cost"] == pytest.approx(sum(step["cost"] for step in run["steps"]))


def test_a_run_without_its_input_is_refused_before_it_begins(house: House) -> None:
    house.ask("POST", "/workflows", FLOW)
    run = house.ask("POST", "/workflows/two_steps/runs", {"input": {}})
    assert run.status in (202, 422)
    assert house.ask("POST", "/workflows/nothing/runs", {"input": {}}).status == 404
    wrong = {**FLOW, "steps": [{**FLOW["steps"][0], "when": "x"}]}  # type: ignore[dict-item]
    found = house.ask("POST", "/workflows", wrong)
    assert found.status == 422
    assert found.body["param"] == "steps[0].when"


def test_a_run_is_cancelled(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    house.upstream.plays[0].hang = 20
    house.upstream.plays[0].chunks = ()
    house.ask("POST", "/workflows", FLOW)
    run_id = house.ask("POST", "/workflows/two_steps/runs", {"input": {"question": "What?"}}).body["run_id"]
    House.until(lambda: house.ask("GET", f"/runs/{run_id}").body["status"], lambda status: status == "running")
    assert house.ask("POST", f"/runs/{run_id}/cancel", {}).status in (200, 202)
    assert house.ended(f"/runs/{run_id}")["status"] == "cancelled"
    assert house.ask("POST", f"/runs/{run_id}/cancel", {}).status == 409


def test_events_of_a_run_as_server_sent_events(house: House) -> None:
    house.upstream.play(answer(openai_answer("One")))
    house.ask("POST", "/workflows", FLOW)
    run_id = house.ask("POST", "/workflows/two_steps/runs", {"input": {"question": "What?"}}).body["run_id"]
    whole = house.ask("GET", f"/runs/{run_id}/events").raw.decode()
    names = [line[7:] for line in whole.split("\n") if line.startswith("event: ")]
    assert names[0] == "workflow_started"
    assert names[-1] == "workflow_completed"
    ids = [int(line[4:]) for line in whole.split("\n") if line.startswith("id: ")]
    assert ids == sorted(set(ids))
    rest = house.ask("GET", f"/runs/{run_id}/events", headers={"last-event-id": str(ids[-3])}).raw.decode()
    assert [int(line[4:]) for line in rest.split("\n") if line.startswith("id: ")] == ids[-2:]


@asynccontextmanager
async def listening(house: House, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(house.url + "/ws", **options) as socket:
        yield socket


def test_the_socket_takes_the_key_as_its_first_message_and_resumes(house: House) -> None:
    house.upstream.play(answer(openai_answer("One")))
    house.ask("POST", "/workflows", FLOW)
    run_id = house.ask("POST", "/workflows/two_steps/runs", {"input": {"question": "What?"}}).body["run_id"]

    async def hear(last: int) -> list[dict[str, Any]]:
        async with listening(house) as socket:
            await socket.send_json({"type": "auth", "token": ROOT_KEY})
            assert (await socket.receive_json(timeout=10))["type"] == "authenticated"
            await socket.send_json({"type": "subscribe", "run_id": run_id, "last_event_id": last})
            found: list[dict[str, Any]] = []
            while not found or found[-1]["type"] != "workflow_completed":
                found.append(await socket.receive_json(timeout=10))
            return found

    # Before its first message a connection hears whatever happens, so that by then all has happened.
    house.ended(f"/runs/{run_id}")
    whole = asyncio.run(hear(0))
    assert whole[0]["type"] == "workflow_started"
    assert asyncio.run(hear(whole[3]["id"])) == whole[4:]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "auth", "token": "gw-wrong"}, 4401),
        ({"type": "subscribe"}, 4401),
        ({"type": "auth", "token": 7}, 4401),
        ("{nonsense", 4400),
    ],
)
def test_the_socket_closes_on_whoever_is_not_known(house: House, message: Any, code: int) -> None:
    async def knock() -> int | None:
        async with listening(house) as socket:
            await socket.send_str(message if isinstance(message, str) else json.dumps(message))
            while (await socket.receive(timeout=10)).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                pass
            return socket.close_code

    assert asyncio.run(knock()) == code


def test_the_socket_refuses_pages_of_other_sites_and_other_peoples_runs(house: House) -> None:
    async def from_elsewhere() -> int:
        try:
            async with listening(house, headers={"origin": "https://evil.example.org"}):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    assert asyncio.run(from_elsewhere()) == 403
    house.upstream.play(answer(openai_answer()))
    run_id = house.ask("POST", "/tasks", TASK).body["run_id"]
    stranger = house.key("developer")

    async def listen_in() -> dict[str, Any]:
        async with listening(house, headers={"authorization": f"Bearer {stranger}"}) as socket:
            await socket.send_json({"type": "subscribe", "run_id": run_id})
            told: dict[str, Any] = await socket.receive_json(timeout=10)
            return told

    assert asyncio.run(listen_in())["error"]["status"] == 404


def test_the_operators_own_address_is_told_of_everything(tmp_path: Path, receiver: Upstream) -> None:
    """Also outside development, where a caller's address on this machine is refused."""
    own = receiver.url + "/alerts"
    with running_house(tmp_path, dev=False, WEBHOOK_URL=own) as strict:
        strict.upstream.play(answer(openai_answer("Done.")))
        receiver.play(answer({}))
        assert strict.ask("POST", "/tasks", {**TASK, "webhook_url": own}).status == 422
        task_id = strict.ask("POST", "/tasks", TASK).body["task_id"]
        strict.ended(f"/tasks/{task_id}")
        assert strict.deliver() == 1
        assert receiver.sent[0].body["task_id"] == task_id
        stamp = receiver.sent[0].body["timestamp"]
        assert stamp.endswith("Z")


def test_a_webhook_is_delivered_signed_and_tried_again(house: House, receiver: Upstream) -> None:
    house.upstream.play(answer(openai_answer("Done.")))
    key = house.key("developer", principal="hooked")
    made = house.ask("POST", "/webhooks", {"url": receiver.url + "/in", "events": ["task_completion"]}, key=key)
    assert made.status == 201, made.body
    assert made.body["secret"].startswith("whsec_")
    listed = house.ask("GET", "/webhooks", key=key).body
    assert made.body["secret"] not in json.dumps(listed)
    receiver.play(answer({}, 500), answer({}))
    task_id = house.ask("POST", "/tasks", TASK, key=key).body["task_id"]
    house.ended(f"/tasks/{task_id}", key=key)
    house.deliver()
    (sent,) = receiver.sent
    assert sent.body["event"] == "task_completion"
    assert sent.body["task_id"] == task_id
    assert sent.body["result"]["response"] == "Done."
    stamp = int(sent.headers["webhook-timestamp"])
    assert sent.headers["webhook-signature"] == signature(
        made.body["secret"], sent.headers["webhook-id"], stamp, sent.raw
    )
    (waiting,) = house.ask("GET", "/webhooks/deliveries", key=key).body["deliveries"]
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert "500" in waiting["last_error"]
    house.deliver(later=10)
    assert receiver.sent[1].headers["webhook-id"] == sent.headers["webhook-id"]
    (done,) = house.ask("GET", "/webhooks/deliveries", key=key).body["deliveries"]
    assert done["state"] == "delivered"
    stranger = house.key("developer")
    assert house.ask("POST", f"/webhooks/deliveries/{done['id']}/replay", {}, key=stranger).status == 404
    assert house.ask("POST", f"/webhooks/deliveries/{done['id']}/replay", {}, key=key).status == 202
    assert house.ask("DELETE", f"/webhooks/{made.body['id']}", key=key).status in (200, 204)
