"""Webhooks as a receiver meets them: signed with the right secrets, sent again, told once, ended, replayed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai._exceptions import InvalidWebhookSignatureError
from typer.testing import CliRunner

from fixtures.house import CONFIG, House, running_house
from fixtures.upstream import Sent, Upstream, answer, openai_answer, running_upstream
from gateway.cli.webhooks import make_app
from gateway.events.event import EventDraft

ROOT = CONFIG.parent
TASK = {"task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_data": {"prompt": "Why?"}}
DAY = 86_400


@pytest.fixture(scope="module")
def receiver() -> Iterator[Upstream]:
    with running_upstream() as running:
        running.play(answer({}))
        yield running


@pytest.fixture
def key(house: House, request: pytest.FixtureRequest) -> str:
    """A key of somebody new."""
    return house.key("developer", principal=re.sub(r"\W", "-", request.node.name))


def signed_by(secret: str, sent: Sent) -> bool:
    """Whether a library that is not ours takes the message: OpenAI's SDK checks Standard Webhooks too."""
    client = OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1", webhook_secret=secret)
    try:
        client.webhooks.verify_signature(sent.raw, sent.headers, tolerance=10 * DAY)
    except InvalidWebhookSignatureError:
        return False
    return True


def ended_task(house: House, key: str, **fields: Any) -> str:
    house.upstream.play(answer(openai_answer("Done.")))
    task_id = str(house.ask("POST", "/tasks", {**TASK, **fields}, key=key).body["task_id"])
    house.ended(f"/tasks/{task_id}", key=key)
    return task_id


def deliveries(house: House, key: str, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.ask("GET", "/webhooks/deliveries" + query, key=key).body["deliveries"]
    return found


def test_both_secrets_sign_while_one_is_rotated(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}, 500), answer({}))
    made = house.ask("POST", "/webhooks", {"url": receiver.url + "/rotating"}, key=key).body
    ended_task(house, key)
    house.deliver()
    assert signed_by(made["secret"], receiver.sent[0])
    changed = house.ask("POST", f"/webhooks/{made['id']}/rotate", {}, key=key)
    assert changed.status == 200, changed.body
    assert changed.headers["cache-control"] == "no-store"
    fresh = changed.body["secret"]
    assert fresh != made["secret"]
    house.deliver(later=60)
    second = receiver.sent[1]
    assert signed_by(made["secret"], second)
    assert signed_by(fresh, second)
    assert len(second.headers["webhook-signature"].split()) == 2
    assert second.headers["webhook-id"] == receiver.sent[0].headers["webhook-id"]
    ended_task(house, key)
    house.deliver(later=DAY + 60)
    assert not signed_by(made["secret"], receiver.sent[2])
    assert signed_by(fresh, receiver.sent[2])
    assert fresh not in json.dumps(house.ask("GET", "/webhooks", key=key).body)
    stranger = house.key("developer", principal="a-stranger")
    assert house.ask("POST", f"/webhooks/{made['id']}/rotate", {}, key=stranger).status == 404
    assert house.ask("POST", f"/webhooks/{made['id']}/rotate", {"overlap": -1}, key=key).status == 422


def test_a_secret_that_leaked_ends_at_once(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}))
    made = house.ask("POST", "/webhooks", {"url": receiver.url + "/leaked"}, key=key).body
    fresh = house.ask("POST", f"/webhooks/{made['id']}/rotate", {"overlap": 0}, key=key).body["secret"]
    ended_task(house, key)
    house.deliver()
    assert signed_by(fresh, receiver.sent[0])
    assert not signed_by(made["secret"], receiver.sent[0])


def test_a_tasks_own_address_is_signed_with_its_owners_secret(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}))
    ended_task(house, key, webhook_url=receiver.url + "/mine")
    house.deliver()
    mine = house.ask("GET", "/webhooks/secret", key=key).body["secret"]
    other = house.ask("GET", "/webhooks/secret", key=house.key("developer", principal="another")).body["secret"]
    assert signed_by(mine, receiver.sent[0])
    assert not signed_by(other, receiver.sent[0])


def test_one_event_is_one_message_an_address(house: House, receiver: Upstream, key: str) -> None:
    """The task names an address that is subscribed too, twice by wish, once by right."""
    receiver.play(answer({}))
    address = receiver.url + "/once"
    made = house.ask("POST", "/webhooks", {"url": address}, key=key)
    again = house.ask("POST", "/webhooks", {"url": address}, key=key)
    assert (made.status, again.status) == (201, 409)
    task_id = ended_task(house, key, webhook_url=address)
    assert [(one["task_id"], one["subscription_id"]) for one in deliveries(house, key)] == [(task_id, made.body["id"])]
    house.deliver()
    house.deliver(later=DAY)
    assert len(receiver.sent) == 1


def test_a_dead_letter_is_seen_and_sent_again(
    house: House, receiver: Upstream, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.play(answer({}, 503))
    house.ask("POST", "/webhooks", {"url": receiver.url + "/down", "events": ["task_completion"]}, key=key)
    task_id = ended_task(house, key)
    later = 0
    while deliveries(house, key, "?state=pending"):
        house.deliver(later=later)
        later += 9 * 3600
        assert later < 20 * 9 * 3600
    (dead,) = deliveries(house, key, "?state=dead")
    assert (dead["attempts"], dead["task_id"]) == (10, task_id)
    assert "503" in dead["last_error"]
    assert house.ask("GET", f"/webhooks/deliveries/{dead['id']}", key=key).body["body"]["task_id"] == task_id
    assert dead["id"] in [one["id"] for one in deliveries(house, house.key("operator"), "?state=dead")]
    assert house.ask("GET", "/stats").body["webhooks"]["dead"] >= 1
    assert b'gateway_webhook_deliveries{state="dead"}' in house.ask("GET", "/metrics").raw
    receiver.play(answer({}))
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", key)
    shown = CliRunner().invoke(make_app(), ["deliveries", "--state", "dead"])
    assert dead["id"] in shown.output
    done = CliRunner().invoke(make_app(), ["replay", "--dead"])
    assert (done.exit_code, "1 on their way" in done.output) == (0, True), done.output
    house.deliver()
    assert receiver.sent[0].headers["webhook-id"] == dead["id"]
    assert [one["state"] for one in deliveries(house, key)] == ["delivered"]


def test_an_ended_subscription_is_told_nothing_more(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}))
    made = house.ask("POST", "/webhooks", {"url": receiver.url + "/left"}, key=key).body
    ended_task(house, key)
    assert house.ask("DELETE", f"/webhooks/{made['id']}", key=key).status == 200
    house.deliver(later=DAY)
    assert receiver.sent == []
    (left,) = deliveries(house, key)
    assert (left["state"], left["last_error"]) == ("dead", "the subscription was ended")


def test_gone_disables_the_subscription_until_it_is_enabled(
    house: House, receiver: Upstream, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.play(answer({}, 410))
    made = house.ask("POST", "/webhooks", {"url": receiver.url + "/gone"}, key=key).body
    start = house.core.events.latest()
    ended_task(house, key)
    house.deliver()
    (dead,) = deliveries(house, key)
    assert (dead["state"], dead["attempts"]) == ("dead", 1)
    (shown,) = house.ask("GET", "/webhooks", key=key).body["webhooks"]
    assert (shown["id"], shown["disabled_reason"]) == (made["id"], "the receiver answered 410")
    assert shown["disabled_at"] is not None
    (told,) = house.core.events.after(start, types=["webhook_disabled"])
    assert (told.owner, told.payload["subscription_id"]) == (shown["owner"], made["id"])
    (noted,) = house.ask("GET", f"/audit?resource=webhook:{made['id']}").body["records"]
    assert (noted["actor"], noted["action"]) == ("gateway", "webhook.disable")
    ended_task(house, key)
    assert len(deliveries(house, key)) == 1
    house.ask("POST", f"/webhooks/deliveries/{dead['id']}/replay", key=key)
    receiver.play(answer({}))
    house.deliver()
    assert receiver.sent == []
    assert "disabled" in deliveries(house, key)[0]["last_error"]
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", key)
    monkeypatch.setenv("COLUMNS", "300")
    assert "the receiver answered 410" in CliRunner().invoke(make_app(), ["list"]).output
    stranger = house.key("developer", principal="a-stranger")
    assert house.ask("POST", f"/webhooks/{made['id']}/enable", key=stranger).status == 404
    done = CliRunner().invoke(make_app(), ["enable", made["id"]])
    assert done.exit_code == 0, done.output
    assert house.ask("GET", "/webhooks", key=key).body["webhooks"][0]["disabled_at"] is None
    ended_task(house, key)
    house.ask("POST", f"/webhooks/deliveries/{dead['id']}/replay", key=key)
    house.deliver()
    assert len(receiver.sent) == 2
    assert all(signed_by(made["secret"], sent) for sent in receiver.sent)


def test_what_waits_for_a_gone_receiver_is_not_sent(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}, 500), answer({}, 410))
    house.ask("POST", "/webhooks", {"url": receiver.url + "/going"}, key=key)
    ended_task(house, key)
    house.deliver()
    ended_task(house, key)
    house.deliver()
    assert [one["state"] for one in deliveries(house, key)] == ["dead", "dead"]
    house.deliver(later=DAY)
    assert len(receiver.sent) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_receiver_is_left_alone_for_as_long_as_it_asks(
    house: House, receiver: Upstream, key: str, status: int
) -> None:
    receiver.play(answer({}, status, **{"Retry-After": "3000"}), answer({}))
    house.ask("POST", "/webhooks", {"url": receiver.url + "/busy"}, key=key)
    ended_task(house, key)
    house.deliver()
    house.deliver(later=2900)
    assert len(receiver.sent) == 1
    house.deliver(later=3010)
    assert [one["state"] for one in deliveries(house, key)] == ["delivered"]


def test_an_alert_goes_to_the_subscription_that_names_it(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}))
    named = {"url": receiver.url + "/alerts", "events": ["budget_alert"]}
    made = house.ask("POST", "/webhooks", named, key=key).body
    house.ask("POST", "/webhooks", {"url": receiver.url + "/runs"}, key=key)
    house.core.events.notify(
        EventDraft("budget_alert", made["owner"], payload={"share": "0.8"}), house.core.clock.now()
    )
    house.deliver()
    (sent,) = receiver.sent
    assert (sent.path, sent.body["event"]) == ("/alerts", "budget_alert")
    assert signed_by(made["secret"], sent)


def test_deliveries_come_in_pages(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}))
    house.ask("POST", "/webhooks", {"url": receiver.url + "/pages"}, key=key)
    tasks = [ended_task(house, key) for _ in range(3)]
    first = house.ask("GET", "/webhooks/deliveries?limit=2", key=key).body
    rest = house.ask("GET", f"/webhooks/deliveries?limit=2&cursor={first['next_cursor']}", key=key).body
    assert [one["task_id"] for one in first["deliveries"] + rest["deliveries"]] == tasks[::-1]
    assert rest["next_cursor"] is None
    house.deliver()
    assert len(receiver.sent) == 3


def test_a_receiver_inside_the_network_needs_the_operators_word(tmp_path: Path, receiver: Upstream) -> None:
    host = receiver.url.removeprefix("http://")
    with running_house(tmp_path / "shut", dev=False) as strict:
        assert strict.ask("POST", "/webhooks", {"url": receiver.url + "/in"}).body["code"] == "egress_denied"
    with running_house(tmp_path / "open", dev=False, GATEWAY_WEBHOOK_HOSTS=f"hooks.internal, {host}") as strict:
        receiver.play(answer({}))
        made = strict.ask("POST", "/webhooks", {"url": receiver.url + "/in"})
        assert made.status == 201, made.body
        assert strict.ask("POST", "/webhooks", {"url": "http://127.0.0.1:9/in"}).status == 422
        strict.upstream.play(answer(openai_answer("Done.")))
        strict.ended(f"/tasks/{strict.ask('POST', '/tasks', TASK).body['task_id']}")
        assert strict.deliver() == 1
        assert signed_by(made.body["secret"], receiver.sent[0])


def test_the_pages_own_check_takes_ours_and_no_other(house: House, receiver: Upstream, key: str) -> None:
    """The code in ``docs/guide/webhooks.md``."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide/webhooks.md").read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    receiver.play(answer({}))
    made = house.ask("POST", "/webhooks", {"url": receiver.url + "/page"}, key=key).body
    ended_task(house, key)
    house.deliver()
    sent = receiver.sent[0]
    assert scope["is_ours"](made["secret"], sent.headers, sent.raw)
    assert not scope["is_ours"](made["secret"], sent.headers, sent.raw + b" ")


def test_several_orchestrators_send_a_message_once(house: House, receiver: Upstream, key: str) -> None:
    receiver.play(answer({}))
    house.ask("POST", "/webhooks", {"url": receiver.url + "/many"}, key=key)
    ended_task(house, key)

    async def all_at_once() -> None:
        await asyncio.gather(*(asyncio.to_thread(house.deliver) for _ in range(4)))

    asyncio.run(all_at_once())
    assert len(receiver.sent) == 1
