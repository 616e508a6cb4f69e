"""Prices at work: dated cards, cards put right later, no charge by configuration, and what ``prices`` tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fixtures.house import ROOT_KEY, House, running_house
from fixtures.price_kit import MARK, card, edit, entry, money, usage
from fixtures.upstream import answer, events, openai_answer, openai_chunks
from gateway.cli.main import main

LATER = (datetime.now(UTC) + timedelta(days=30)).date()
MODELS = f"""
  p-dated:
    type: llm
    provider: openai
    upstream_model: dated
    price:
      - {{input_per_million: "1", output_per_million: "2", source: first}}
      - {{input_per_million: "3", output_per_million: "4", source: second, valid_from: 2026-01-01}}
      - {{input_per_million: "5", output_per_million: "6", source: put right,
          valid_from: 2026-01-01, known_from: 2026-03-01}}
      - {{input_per_million: "7", output_per_million: "8", source: to come, valid_from: {LATER}}}
  p-none: {{type: llm, provider: openai, upstream_model: whatever, price: none}}
  p-unknown: {{type: llm, provider: t-mistral, upstream_model: nobody-knows-it}}
  p-tiers:
    type: llm
    provider: openai
    upstream_model: tiers
    price:
      input_per_million: "10"
      output_per_million: "20"
      source: contract
      tiers: [{{above_input_tokens: 100, input_per_million: "30", output_per_million: "40"}}]
      service_tiers: {{flex: {{input_per_million: "5", output_per_million: "10"}}}}
  p-sound:
    type: llm
    provider: openai
    upstream_model: sound
    price: {{input_per_million: "2", output_per_million: "8", input_audio_per_million: "40",
             output_audio_per_million: "80", reasoning_per_million: "9", per_call: "0.01"}}
  p-timed: {{type: llm, provider: openai, upstream_model: timed, price: {{per_second: "0.01", source: contract}}}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("priced")) as running:
        edit(running, MARK, MODELS + MARK)
        yield running


def cli(house: House, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--url", house.url, "--key", ROOT_KEY])
    return int(ended.value.code or 0), capsys.readouterr().out


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ({}, "put right"),
        ({"at": "2025-12-31"}, "first"),
        ({"at": "2026-02-01"}, "second"),
        ({"at": "2026-02-01", "known_at": "2026-04-01"}, "put right"),
        ({"at": "2026-04-01", "known_at": "2026-02-01"}, "second"),
        ({"at": (LATER + timedelta(days=1)).isoformat()}, "to come"),
    ],
)
def test_a_price_is_that_of_its_day_as_it_was_known_on_another(
    house: House, query: dict[str, str], source: str
) -> None:
    assert card(house, "p-dated", **query)["card"]["source"] == source


def test_a_price_to_come_is_told(house: House) -> None:
    assert str(card(house, "p-dated")["next_from"]).startswith(LATER.isoformat())


def test_an_entry_names_its_card_and_costs_what_it_says(house: House) -> None:
    house.upstream.play(answer(openai_answer(usage=usage(100, 10))))
    made = entry(house, "p-dated")
    assert made["price_card"] == "models.yaml: put right@2026-01-01 known 2026-03-01"
    assert money(made["cost"]) == Decimal("0.00056")


def test_a_longer_input_and_another_service_tier_cost_otherwise(house: House) -> None:
    house.upstream.play(answer(openai_answer(usage=usage(100, 10))))
    assert money(entry(house, "p-tiers")["cost"]) == Decimal("0.0012")
    house.upstream.play(answer(openai_answer(usage=usage(101, 10))))
    assert money(entry(house, "p-tiers")["cost"]) == Decimal("0.00343")
    house.upstream.play(answer(openai_answer(usage=usage(100, 10))))
    flex = entry(house, "p-tiers", service_tier="flex")
    assert money(flex["cost"]) == Decimal("0.0006")
    assert flex["price_card"] == "models.yaml: contract tier=flex"
    assert money(entry(house, "p-tiers", service_tier="none of ours")["cost"]) == Decimal("0.0012")


def test_sound_and_reasoning_and_the_call_itself_have_prices(house: House) -> None:
    parts = {
        "prompt_tokens_details": {"audio_tokens": 60},
        "completion_tokens_details": {"audio_tokens": 20, "reasoning_tokens": 5},
    }
    house.upstream.play(answer(openai_answer(usage=usage(100, 50, **parts))))
    micro = 40 * 2 + 60 * 40 + 25 * 8 + 20 * 80 + 5 * 9
    assert money(entry(house, "p-sound")["cost"]) == Decimal(micro) / 10**6 + Decimal("0.01")


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_charged_by_configuration_is_used_and_costs_nothing(house: House, stream: bool) -> None:
    house.upstream.play(events(*openai_chunks("Hello.")) if stream else answer(openai_answer(usage=usage(11, 3))))
    made = entry(house, "p-none", stream=stream)
    assert (money(made["cost"]), made["price_card"]) == (Decimal(0), "models.yaml: none")
    assert (made["input_tokens"], made["output_tokens"]) == (11, 3)


def test_what_has_no_price_is_refused_before_it_is_sent(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    asked = {"model": "p-unknown", "messages": [{"role": "user", "content": "Hello"}]}
    found = house.ask("POST", "/v1/chat/completions", asked)
    assert found.body["error"]["code"] == "price_unknown"
    assert "price: none" in json.dumps(found.body)
    assert not house.upstream.sent


def test_check_names_what_has_no_price_and_what_changed(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.upstream.play(answer(openai_answer(usage=usage(100, 10))))
    entry(house, "p-tiers")
    before = house.ask("GET", "/prices/check").body
    assert "p-unknown" in before["without_price"]
    assert before["not_charged"] == ["p-none"]
    assert [item["model"] for item in before["coming"]] == ["p-dated"]
    assert "p-tiers" not in [item["model"] for item in before["changed"]]
    edit(house, '"10"\n      output_per_million: "20"', '"11"\n      output_per_million: "20"')
    after = house.ask("GET", "/prices/check").body
    assert {"model": "p-tiers", "charged_by": "models.yaml: contract", "now": "models.yaml: contract"} in after[
        "changed"
    ]
    code, told = cli(house, capsys, "prices", "check")
    assert code == 1
    assert "p-unknown: no price is known" in told
    assert "p-tiers: was charged by" in told
    edit(house, '"11"\n      output_per_million: "20"', '"10"\n      output_per_million: "20"')


def test_the_command_lists_them(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = cli(house, capsys, "prices", "list", "--model", "gpt-4o")
    assert code == 0
    assert "genai-prices" in told
    assert "$2.5" in told
    code, told = cli(house, capsys, "prices", "list", "--model", "p-dated", "--at", "2025-12-31", "--json")
    assert json.loads(told)["prices"][0]["card"]["source"] == "first"


def sums(house: House, until: str) -> str:
    """The bill of everything until then."""
    return json.dumps(house.ask("GET", f"/usage?by=team,model,provider&until={until}").body)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_what_was_charged_by_a_wrong_price_is_corrected_by_entries(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    since = now()
    for team, tokens in (("red", 1000), ("blue", 50)):
        house.upstream.play(answer(openai_answer(usage=usage(tokens, 10))))
        asked = {"model": "p-tiers", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50}
        assert house.ask("POST", "/v1/chat/completions", asked, key=house.key("developer", team=team)).status == 200
    until = now()
    invoice = sums(house, until)
    ask = {"since": since, "until": until}
    assert house.ask("POST", "/prices/rerate", ask).body["changed"] == 0
    edit(house, '"10"\n      output_per_million: "20"', '"13"\n      output_per_million: "20"')

    dry = house.ask("POST", "/prices/rerate", ask).body
    assert (dry["entries"], dry["changed"], dry["booked"]) == (2, 1, 0), "the longer one has a tier of its own"
    assert [(item["team"], item["entries"]) for item in dry["by_team"]] == [("blue", 1)]
    assert money(dry["difference_usd"]) == Decimal(50 * 3) / 10**6
    assert sums(house, until) == invoice

    code, told = cli(house, capsys, "prices", "rerate", since, until, "--dry-run")
    assert (code, "blue" in told, "nothing is booked" in told) == (0, True, True)
    code, told = cli(house, capsys, "prices", "rerate", since, until, "--book")
    assert (code, "1 corrections booked" in told) == (0, True)
    assert sums(house, until) == invoice, "the bill of the past is the same to the last digit"
    made = house.ask("GET", "/usage/entries?limit=1&team=blue").body["entries"][0]
    assert (made["kind"], made["outcome"], made["input_tokens"]) == ("correction", "rerated", 0)
    assert money(made["cost"]) == Decimal(50 * 3) / 10**6
    assert house.ask("POST", "/prices/rerate", {**ask, "book": True}).body["booked"] == 0, "it is booked once"
    audited = house.ask("GET", "/audit?action=ledger.rerate").body
    assert "corrections" in json.dumps(audited)

    edit(house, '"13"\n      output_per_million: "20"', '"10"\n      output_per_million: "20"')
    back = house.ask("POST", "/prices/rerate", {**ask, "book": True}).body
    assert (back["booked"], money(back["difference_usd"])) == (1, -Decimal(50 * 3) / 10**6)
    found = house.services.ledger.verify()
    assert found.ok, found.problems


def test_what_is_charged_by_the_second_is_charged_again_by_the_same_seconds(house: House) -> None:
    since = now()
    house.upstream.play(answer(openai_answer(usage=usage(5, 5))))
    first = entry(house, "p-timed")
    assert money(first["cost"]) > 0
    ask = {"since": since, "until": now(), "model": "p-timed"}
    edit(house, 'per_second: "0.01"', 'per_second: "0.03"')
    found = house.ask("POST", "/prices/rerate", {**ask, "book": True}).body
    assert (found["booked"], found["left_out"]) == (1, [])
    # Three times the price of the same time; each of the two sums is rounded to 10^-10 USD.
    assert abs(money(found["difference_usd"]) - 2 * money(first["cost"])) <= Decimal("2e-10")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"since": "2026-01-02", "until": "2026-01-01"}, 422),
        ({"since": "2999-01-01", "until": "2999-02-01"}, 422),
        ({"since": "2026-01-01", "until": "2026-01-02", "book": "yes"}, 422),
        ({"since": "2026-01-01", "until": "2026-01-02", "boook": True}, 422),
        ({"since": 3, "until": "2026-01-02"}, 422),
        ({"since": "2026-01-01", "until": "2026-01-02"}, 200),
    ],
)
def test_a_bad_question_of_rerating_names_its_field(house: House, body: dict[str, Any], status: int) -> None:
    assert house.ask("POST", "/prices/rerate", body).status == status


def test_only_who_may_correct_the_ledger_books(house: House) -> None:
    body = {"since": "2026-01-01", "until": "2026-01-02", "book": True}
    assert house.ask("POST", "/prices/rerate", body, key=house.key("operator")).status == 200
    assert house.ask("POST", "/prices/rerate", body, key=house.key("analyst")).status == 403


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("{input_per_million: 1, currency: EUR}", "currency"),
        ("{input_per_million: -1}", "input_per_million"),
        ("{input_per_million: 1, valid_from: soon}", "valid_from"),
        ("[{input_per_million: 1}, {input_per_million: 2}]", "two cards"),
        ("free", "none is expected"),
        ("[]", "none is expected"),
        ("{input_per_million: 1, tiers: [{input_per_million: 2}]}", "above_input_tokens"),
        ("{input_per_million: 1, service_tiers: {flex: {cheap: 1}}}", "service_tiers"),
    ],
)
def test_a_price_that_nobody_could_charge_by_does_not_come_into_force(house: House, price: str, said: str) -> None:
    path = house.core.settings.config_dir / "models.yaml"
    text = path.read_text()
    path.write_text(text.replace("price: none", f"price: {price}"))
    try:
        assert not house.core.catalogue.refresh()
        problem = house.core.catalogue.last_error
        assert problem is not None
        assert said in problem.message
    finally:
        path.write_text(text)
        house.core.catalogue.refresh()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/prices?at=soon", 422),
        ("/prices?model=nothing", 404),
        ("/prices?model=t-route", 404),
        ("/prices?known_at=x", 422),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(house: House, path: str, status: int) -> None:
    assert house.ask("GET", path).status == status


def test_a_key_sees_the_prices_of_its_own_models(house: House) -> None:
    key = house.key("developer", models=("p-*",))
    assert {item["model"] for item in house.ask("GET", "/prices", key=key).body["prices"]} == {
        "p-dated", "p-none", "p-unknown", "p-tiers", "p-sound", "p-timed",
    }  # fmt: skip
    assert house.ask("GET", "/prices?model=gpt-4o", key=key).status == 404
    assert house.ask("GET", "/prices/check", key=key).status == 403
