"""Budgets at their caps, through real calls: a cheaper model, the next window, an approval; and who is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fixtures.house import ROOT_KEY, Answer, House, running_house
from fixtures.money_kit import DAY, ManualClock
from fixtures.upstream import answer, events, openai_answer, openai_chunks
from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.ledger.cost_tracker import CostTracker, Ledger
from gateway.serving import accounts
from gateway.store.ledger_store import SqlLedgerStore

DEAR, CHEAP = "t-good", "t-plain"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500}
COST = Decimal("0.025")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("capped")) as running:
        yield running


def budget(house: House, limit: str, **fields: Any) -> dict[str, Any]:
    made = house.ask("POST", "/budgets", {"limit_usd": limit, **fields})
    assert made.status == 201, made.body
    return dict(made.body)


def ask(house: House, key: str, model: str = DEAR, **fields: Any) -> Answer:
    stream = bool(fields.get("stream"))
    reply = openai_answer(usage=USAGE)
    house.upstream.play(events(*openai_chunks("Hello.")) if stream else answer(reply))
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 500, **fields}
    return house.ask("POST", "/v1/chat/completions", body, key=key)


def spend(house: House, key: str) -> None:
    found = ask(house, key)
    assert found.status == 200, found.body


def cli(house: House, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--url", house.url, "--key", ROOT_KEY])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("stream", [False, True])
def test_beyond_the_cap_a_cheaper_model_answers_and_says_why(house: House, stream: bool) -> None:
    team = f"degraded-{stream}"
    budget(house, "0.03", scope="team", subject=team, at_cap="degrade", degrade_to=["none-such", CHEAP])
    key = house.key("developer", team=team)
    spend(house, key)
    found = ask(house, key, stream=stream)
    assert found.status == 200, found.body
    assert found.headers["x-gateway-model"] == CHEAP
    assert f"the budget of team {team} does not cover {DEAR}" in found.headers["x-gateway-route"]
    assert house.upstream.sent[-1].body["model"] == "plain"


def test_a_model_that_the_key_may_not_use_is_no_substitute(house: House) -> None:
    budget(house, "0.03", scope="team", subject="narrow", at_cap="degrade", degrade_to=[CHEAP])
    key = house.key("developer", team="narrow", models=(DEAR,))
    spend(house, key)
    found = ask(house, key)
    assert (found.status, found.body["error"]["code"]) == (402, "budget_exceeded")


def test_who_queues_is_told_when(house: House) -> None:
    budget(house, "0.03", scope="team", subject="patient", window="month", at_cap="queue")
    key = house.key("developer", team="patient")
    spend(house, key)
    found = ask(house, key)
    assert found.status == 402
    assert int(found.headers["retry-after"]) > 0


def test_a_window_that_begins_soon_is_waited_for_at_the_door(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(house, "0.03", scope="team", subject="soon", window="month", at_cap="queue")
    key = house.key("developer", team="soon")
    spend(house, key)
    house.services.calls.flush()
    waited: list[float] = []

    class Waits:
        """Stands for ``asyncio`` there: the pause passes at once, and the window ends in it."""

        @staticmethod
        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            with house.core.database.begin() as connection:
                connection.exec_driver_sql("UPDATE budget SET spent = 0 WHERE subject = 'soon'")

    monkeypatch.setattr(accounts, "LONGEST_QUEUE_SECONDS", 32 * 86_400)
    monkeypatch.setattr(accounts, "asyncio", Waits)
    assert ask(house, key).status == 200
    assert waited


def test_more_is_asked_for_and_approved(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    made = budget(house, "0.03", scope="team", subject="asking", window="month", at_cap="approve")
    key = house.key("developer", team="asking")
    spend(house, key)
    found = ask(house, key)
    assert (found.status, found.body["error"]["code"]) == (402, "budget_exceeded")
    stands = house.ask("GET", f"/budgets/{made['id']}").body
    assert Decimal(str(stands["asked_usd"])) > Decimal("0.015")
    assert "beyond it" in cli(house, capsys, "budgets", "approve", made["id"], "0.10")
    spend(house, key)
    assert house.ask("POST", f"/budgets/{made['id']}/deny").status == 409
    assert house.ask("POST", f"/budgets/{made['id']}/approve", {"amount_usd": "0"}).status == 422
    assert house.ask("POST", f"/budgets/{made['id']}/approve", {"amount_usd": "1"}, key=key).status == 403
    assert house.ask("POST", "/budgets/none/approve", {"amount_usd": "1"}).status == 404


def test_a_task_waits_for_the_approval_of_its_budget(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tasks.budget_pause._APPROVAL_SECONDS", 0.2)
    made = budget(house, "0.01", scope="team", subject="tasks", window="month", at_cap="approve")
    key = house.key("developer", team="tasks")
    house.upstream.play(answer(openai_answer("Done.", usage=USAGE)))
    body = {"task_type": "llm_analysis", "model_config": {"name": DEAR}, "input_data": {"prompt": "Hello"}}
    task = house.ask("POST", "/tasks", body, key=key)
    assert task.status == 202, task.body
    path = f"/tasks/{task.body['task_id']}"
    house.until(lambda: house.ask("GET", f"/budgets/{made['id']}").body, lambda found: found["asked_usd"] is not None)
    assert house.ask("GET", path, key=key).body["status"] in ("pending", "running")
    assert not house.upstream.sent
    house.ask("POST", f"/budgets/{made['id']}/approve", {"amount_usd": "10"})
    ended = house.ended(path, key=key)
    assert ended["status"] == "completed", ended


def test_a_denied_task_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.tasks.budget_pause._APPROVAL_SECONDS", 0.2)
    made = budget(house, "0.01", scope="team", subject="denied", window="month", at_cap="approve")
    key = house.key("developer", team="denied")
    body = {"task_type": "llm_analysis", "model_config": {"name": DEAR}, "input_data": {"prompt": "Hello"}}
    task = house.ask("POST", "/tasks", body, key=key)
    house.until(lambda: house.ask("GET", f"/budgets/{made['id']}").body, lambda found: found["asked_usd"] is not None)
    assert house.ask("POST", f"/budgets/{made['id']}/deny").status == 200
    ended = house.ended(f"/tasks/{task.body['task_id']}", key=key)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "budget_exceeded")


def test_a_project_is_the_keys_and_has_a_budget(house: House) -> None:
    budget(house, "0.03", scope="project", subject="apollo")
    made = house.ask("POST", "/keys", {"name": "a", "role": "developer", "project": "apollo"}).body
    assert made["project"] == "apollo"
    assert house.ask("GET", "/me", key=made["key"]).body["project"] == "apollo"
    spend(house, made["key"])
    assert ask(house, made["key"]).status == 402
    token = house.ask("POST", "/tokens", key=made["key"])
    assert ask(house, token.body["access_token"]).status == 402


def test_the_command_sets_all_of_it(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["budgets", "create", "provider", "openai", "5000", "--window", "day", "--time-zone", "Asia/Kolkata"]
    words += ["--alert", "0.5", "--at-cap", "degrade", "--degrade-to", CHEAP, "--json"]
    made = json.loads(cli(house, capsys, *words))
    assert (made["time_zone"], made["alert_shares"], made["degrade_to"]) == ("Asia/Kolkata", ["0.5"], [CHEAP])
    assert made["resets_at"].endswith("18:30:00.000000Z")


def test_flags_of_odd_usage_are_in_the_answer_and_the_ledger(house: House) -> None:
    key = house.key("developer", team="flags")
    odd = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 12}}
    house.upstream.play(answer(openai_answer(usage=odd)))
    body = {"model": CHEAP, "messages": [{"role": "user", "content": "Hello"}]}
    found = house.ask("POST", "/v1/chat/completions", body, key=key)
    assert found.headers["x-gateway-usage-flags"] == "cached_above_input"
    entry = house.ask("GET", "/usage/entries?team=flags").body["entries"][0]
    assert (entry["flags"], entry["basis"]) == ("cached_above_input", "estimated")
    house.upstream.play(answer(openai_answer(usage=None)))
    found = house.ask("POST", "/v1/chat/completions", body, key=key)
    assert found.headers["x-gateway-usage-flags"] == "usage_missing"
    house.upstream.play(answer(openai_answer(usage=USAGE)))
    assert "x-gateway-usage-flags" not in house.ask("POST", "/v1/chat/completions", body, key=key).headers


def test_alerts_are_events_and_webhooks_and_a_metric(tmp_path_factory: pytest.TempPathFactory) -> None:
    hooks = "https://hooks.example.com/alerts"
    with running_house(tmp_path_factory.mktemp("alerted"), WEBHOOK_URL=hooks) as house:
        budget(house, "0.03", scope="team", subject="told", alert_shares=["0.5"])
        key = house.key("developer", team="told")
        spend(house, key)
        house.services.calls.flush()
        found = house.until(lambda: list(house.core.webhooks.deliveries(None, state=None, limit=50)), bool)
        assert [(item.url, item.event) for item in found] == [(hooks, "budget_alert")]
        told = json.loads(found[0].body)
        assert (told["scope"], told["subject"], told["share"]) == ("team", "told", "0.5")
        assert 'gateway_budget_alerts_total{scope="team"} 1.0' in house.ask("GET", "/metrics").raw.decode()


def test_with_tracking_off_nothing_is_refused_or_told_and_everything_recorded(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("untracked")
    with running_house(folder, COST_TRACKING_ENABLED="false", COST_ALERT_THRESHOLD="0.001") as house:
        budget(house, "0.001", scope="gateway", alert_shares=["0.5"])
        key = house.key("developer", team="free")
        spend(house, key)
        spend(house, key)
        entries = house.ask("GET", "/usage/entries?team=free").body["entries"]
        assert [item["input_tokens"] for item in entries] == [1000, 1000]
        assert house.ask("GET", "/budgets").body["enforced"] is False
        assert house.ask("GET", "/usage/summary").body["alert"] is False
        assert not [item for item in house.core.events.after(0) if item.type == "budget_alert"]
        assert "gateway_budget_alerts_total{" not in house.ask("GET", "/metrics").raw.decode()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"scope": "model", "subject": "t-goood"}, "subject"),
        ({"scope": "provider", "subject": "opnai"}, "subject"),
        ({"scope": "team", "subject": "t", "at_cap": "degrade", "degrade_to": ["none-such"]}, "degrade_to"),
        ({"scope": "team", "subject": "t", "at_cap": "refuse", "degrade_to": {}}, "degrade_to"),
    ],
)
def test_a_budget_that_would_bind_nothing_is_refused(house: House, fields: dict[str, Any], param: str) -> None:
    found = house.ask("POST", "/budgets", {"limit_usd": "1", **fields})
    assert (found.status, found.body["param"]) == (422, param)
    if param == "degrade_to":
        capped = {"limit_usd": "1", **{name: fields[name] for name in ("at_cap", "degrade_to")}}
        found = house.ask("POST", "/keys", {"name": "k", "role": "developer", "budget": capped})
        assert (found.status, found.body["param"]) == (422, param)


def test_a_budget_of_one_run_is_for_its_lifetime(house: House) -> None:
    assert budget(house, "1", scope="run", subject="run_1")["window"] == "lifetime"
    assert budget(house, "1", scope="team", subject="daily")["window"] == "day"


def test_the_summary_alerts_of_this_day_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_house(tmp_path_factory.mktemp("daily"), COST_ALERT_THRESHOLD="0.03") as house:
        yesterday = SystemClock().now() - DAY
        before = Ledger(SqlLedgerStore(house.core.database), ManualClock(yesterday))
        CostTracker(before).record_llm_usage(model="gpt-4", tokens_used=10, cost="9")
        key = house.key("developer", team="daily")
        spend(house, key)
        found = house.ask("GET", "/usage/summary").body
        assert (found["alert"], found["total_cost"]) == (False, 9.025)
        spend(house, key)
        assert house.ask("GET", "/usage/summary").body["alert"] is True


def test_the_list_has_those_in_force_or_those_that_ended(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"scope": "team", "subject": "listed", "window": "lifetime"}
    kept, ended, later = (budget(house, limit, **fields)["id"] for limit in ("1", "2", "3"))
    for one in (ended, later):
        assert house.ask("DELETE", f"/budgets/{one}").body["active"] is False

    def listed(query: str = "") -> list[str]:
        found = house.ask("GET", f"/budgets?subject=listed{query}")
        assert found.status == 200, found.body
        return [one["id"] for one in found.body["budgets"]]

    assert listed() == listed("&active=true") == [kept]
    assert listed("&active=false") == [later, ended], "the newest first"
    assert listed("&active=false&limit=1") == [later]
    refused = house.ask("GET", "/budgets?active=no")
    assert (refused.status, refused.body["param"]) == (422, "active")
    told = cli(house, capsys, "budgets", "list"), cli(house, capsys, "budgets", "list", "--ended")
    assert [(kept in text, ended in text) for text in told] == [(True, False), (False, True)]
