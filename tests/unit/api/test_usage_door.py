"""``/usage`` over HTTP: what was called is what is told, to whom it may be told, in every format."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fixtures.house import House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.api.wire.tables import Column, csv_of, harmless
from gateway.cli.main import make_app
from gateway.ledger.cost_tracker import CostTracker


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.upstream.play(answer(openai_answer()))
        ask(running, running.key("developer", principal="ann", team="risk"), "project=alpha, nightly")
        ask(running, running.key("developer", principal="ann", team="risk"), "project=beta")
        ask(running, running.key("developer", principal="ben", team="=cmd+1"), "")
        yield running


def ask(house: House, key: str, tags: str) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}]}
    found = house.ask("POST", "/v1/chat/completions", body, key=key, headers={"x-gateway-tags": tags} if tags else {})
    assert found.status == 200, found.body


def rows(house: House, query: str, **options: str) -> list[dict[str, object]]:
    found = house.ask("GET", f"/usage?{query}", **options)  # type: ignore[arg-type]
    assert found.status == 200, found.body
    told: list[dict[str, object]] = found.body["rows"]
    return told


def test_by_user_team_and_tag(house: House) -> None:
    assert {(row["user"], row["team"]): row["calls"] for row in rows(house, "by=user,team")} == {
        ("ann", "risk"): 2,
        ("ben", "=cmd+1"): 1,
    }
    tags = {row["tag"]: row["calls"] for row in rows(house, "by=tag")}
    assert tags == {"": 1, "nightly": 1, "project=alpha": 1, "project=beta": 1}
    assert {row["tag.project"]: row["calls"] for row in rows(house, "by=tag.project")} == {"": 1, "alpha": 1, "beta": 1}
    assert house.ask("GET", "/usage?tag=nightly").body["calls"] == 1


def test_the_entries_of_one_request(house: House) -> None:
    every = house.ask("GET", "/usage/entries").body["entries"]
    wanted = every[0]["request_id"]
    found = house.ask("GET", f"/usage/entries?request_id={wanted}").body["entries"]
    assert 0 < len(found) < len(every)
    assert {entry["request_id"] for entry in found} == {wanted}
    assert house.ask("GET", "/usage/entries?request_id=req_none").body["entries"] == []


def test_every_time_adds_up_to_the_entries(house: House) -> None:
    page = house.ask("GET", "/usage/entries").body["entries"]
    cost = sum(Decimal(str(entry["cost"])) for entry in page)
    for by in ("hour", "day", "week", "month", "model", "key", "workflow"):
        for zone in ("UTC", "Asia/Kolkata"):
            found = house.ask("GET", f"/usage?by={by}&time_zone={zone}").body
            assert sum(Decimal(str(row["cost"])) for row in found["rows"]) == cost
            assert Decimal(str(found["total_cost"])) == cost
    assert house.ask("GET", "/usage?since=2d&until=1d").body["calls"] == 0
    assert house.ask("GET", "/usage?since=1h").body["calls"] == len(page)


def test_a_developer_sees_their_own_alone(house: House) -> None:
    key = house.key("developer", principal="ann")
    assert [row["user"] for row in rows(house, "by=user&user=ben", key=key)] == ["ann"]
    assert house.ask("GET", "/usage/forecast?user=ben", key=key).body["spent_usd"] > 0
    assert house.ask("GET", "/usage/summary", key=key).status == 403


def test_csv_is_safe_in_a_spreadsheet(house: House) -> None:
    found = house.ask("GET", "/usage?by=team,model&format=csv&order=cost")
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in found.headers["content-disposition"]
    table = list(csv.DictReader(io.StringIO(found.raw.decode())))
    assert {row["team"] for row in table} == {"risk", "'=cmd+1"}
    assert sum(Decimal(row["cost"]) for row in table) == Decimal(str(house.ask("GET", "/usage").body["total_cost"]))


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\uff1d1", "'=1", "   -2+3"]
)
def test_no_text_is_a_formula(text: str) -> None:
    assert harmless(text) == f"'{text}"
    (_, cells) = csv.reader(io.StringIO(csv_of([Column("a")], [{"a": text}]), newline=""))
    assert cells == [f"'{text}"]


def test_plain_text_and_numbers_stay_as_they_are() -> None:
    columns = [Column("a"), Column("n", "whole"), Column("c", "usd")]
    told = csv_of(columns, [{"a": "gpt-4", "n": -3, "c": Decimal("-1E-10")}])
    assert told == "a,n,c\r\ngpt-4,-3,-0.0000000001\r\n"


def test_parquet_has_exact_money(house: House) -> None:
    found = house.ask("GET", "/usage?by=user&format=parquet")
    table = pq.read_table(io.BytesIO(found.raw)).to_pylist()
    told = {row["user"]: Decimal(str(row["cost"])) for row in rows(house, "by=user")}
    assert {row["user"]: row["cost"] for row in table} == told


@pytest.mark.parametrize(
    "query",
    [
        "by=cost", "by=day,hour", "by=model,model", "since=yesterday", "until=2026-13-01", "time_zone=Mars/Base",
        "format=xlsx", "order=random", "limit=-1", "time_zone=../../etc/passwd", "since=99999999d",
    ],
)  # fmt: skip
def test_bad_questions_are_refused_by_name(house: House, query: str) -> None:
    found = house.ask("GET", f"/usage?{query}")
    assert found.status == 422
    assert query.split("=", maxsplit=1)[0] in found.body["detail"]


@pytest.mark.parametrize("tags", ["a b", "=x", "a,b,c,d,e,f,g,h,i", "x" * 65, "a=b=c"])
def test_bad_tags_are_refused_before_anything_is_called(house: House, tags: str) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}]}
    found = house.ask("POST", "/v1/chat/completions", body, headers={"x-gateway-tags": tags})
    assert found.status == 400
    assert "x-gateway-tags" in str(found.body)


def test_the_summary_is_the_trackers(house: House) -> None:
    told = house.ask("GET", "/usage/summary").body
    tracker = CostTracker(house.services.usage)
    summary = tracker.get_cost_summary()
    assert Decimal(str(told["total_cost"])) == summary["total_cost"]
    assert told["calls"] == summary["calls"]
    before = summary["total_cost"]
    tracker.record_llm_usage(model="gpt-4", tokens_used=1000, cost=0.03)
    assert tracker.get_cost_summary()["total_cost"] == before + Decimal("0.03")
    (row,) = rows(house, "by=user&user=python")
    assert row["cost"] == 0.03
    assert house.core.ledger.verify().ok


def test_a_task_carries_its_tags(house: House) -> None:
    body = {
        "task_type": "llm_analysis",
        "model_config": {"name": "gpt-4", "provider": "openai"},
        "input_data": {"prompt": "hello"},
        "metadata": {"tags": ["from-task"]},
    }
    made = house.ask("POST", "/tasks", body)
    assert made.status == 202, made.body
    house.ended(f"/tasks/{made.body['task_id']}")
    assert house.ask("GET", "/usage?tag=from-task").body["calls"] >= 1
    refused = house.ask("POST", "/tasks", {**body, "metadata": {"tags": ["two words"]}})
    assert refused.status == 422


def test_the_command_line_shows_and_saves(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))

    def run(*words: str) -> str:
        make_app(["usage"])(args=["usage", *words], standalone_mode=False)
        return capsys.readouterr().out

    told = run("--by", "user,model")
    assert "ann" in told
    assert "█" in told
    assert "cost by day" in told
    assert "user" in run("--by", "user", "--format", "csv").splitlines()[0]
    run("--by", "user", "--format", "parquet", "--output", str(tmp_path / "u.parquet"))
    assert pq.read_table(tmp_path / "u.parquet").num_rows >= 2
    assert "spent" in run("forecast")
    assert "by model" in run("summary")


def test_what_cost_nothing_is_drawn_by_calls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_house(tmp_path) as house:
        models = house.core.settings.config_dir / "models.yaml"
        free = "models:\n  free: {type: llm, provider: openai, upstream_model: own, price: none}\n"
        models.write_text(models.read_text().replace("models:\n", free, 1))
        assert house.core.catalogue.refresh()
        house.upstream.play(answer(openai_answer()))
        body = {"model": "free", "messages": [{"role": "user", "content": "hello"}]}
        assert house.ask("POST", "/v1/chat/completions", body).status == 200
        monkeypatch.setenv("GATEWAY_URL", house.url)
        monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
        make_app(["usage"])(args=["usage", "--by", "model"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "total: 1 calls, $0" in told
    assert "calls by day" in told
    assert "█" in told


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/usage?tea=risk", "tea"),
        ("/usage?by=model&project=alpha", "project"),
        ("/usage/forecast?since=30d", "since"),
        ("/usage/summary?team=risk", "team"),
        ("/usage/entries?workflow=risk_analysis", "workflow"),
        ("/savings?limit=3", "limit"),
        ("/savings/ratings?limit=3", "limit"),
        ("/invoices?month=2026-01&model=gpt-4", "model"),
        ("/prices?provider=openai", "provider"),
        ("/prices/check?model=gpt-4", "model"),
        ("/budgets?team=risk", "team"),
    ],
)
def test_a_filter_that_a_path_does_not_have_is_refused(house: House, path: str, param: str) -> None:
    found = house.ask("GET", path)
    assert (found.status, found.body["param"]) == (422, param)


def test_groups_are_told_in_the_words_of_callers(house: House) -> None:
    detail = house.ask("GET", "/usage?by=colour").body["detail"]
    assert "user, key, team" in detail
    assert "principal" not in detail
