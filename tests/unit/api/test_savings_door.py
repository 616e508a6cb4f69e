"""``/savings``: each way of saving against its baseline, recommendations that can be worked out again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import sqrt
from typing import Any

import msgspec
import pytest

from fixtures.house import House, running_house
from fixtures.upstream import answer, events, openai_answer, openai_chunks
from gateway.cli.main import make_app
from gateway.ledger.entry import Charge
from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.models.llm_models import Usage
from gateway.money import usd

PATH = "/v1/chat/completions"


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def chat(house: House, model: str, text: str, *, stream: bool = False, **headers: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    found = house.ask("POST", PATH, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert found.status == 200, found.body


def methods(house: House) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in house.ask("GET", "/savings").body["methods"]}


def card(house: House, model: str) -> Any:
    spec = house.core.catalogue.current.models[model]
    provider = house.core.catalogue.current.provider(spec.provider)
    return card_for_llm(model, provider.price_list, spec.upstream_model, spec.price, house.core.clock.now())


def told(amount: int) -> float:
    return float(usd(amount))


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_answer_saves_what_making_it_cost(house: House, stream: bool) -> None:
    house.upstream.play(events(*openai_chunks("Hi")) if stream else answer(openai_answer("Hi")))
    for _ in range(3):
        chat(house, "gpt-4", "equal", stream=stream, x_gateway_cache="60")
    cost = cost_llm(card(house, "gpt-4"), Usage(11, 3))
    row = methods(house)["exact_cache"]
    assert (row["calls"], row["tokens"], row["saved_usd"]) == (2, 28, told(2 * cost))
    assert house.ask("GET", "/savings").body["spent_usd"] == told(cost)
    assert house.core.ledger.verify().ok


def test_the_providers_cache_is_measured_against_the_plain_price(house: House) -> None:
    usage = {
        "prompt_tokens": 2000,
        "completion_tokens": 10,
        "total_tokens": 2010,
        "prompt_tokens_details": {"cached_tokens": 1500},
    }
    house.upstream.play(answer(openai_answer("Hi", usage=usage)))
    chat(house, "gpt-4o", "long")
    plain, real = (cost_llm(card(house, "gpt-4o"), Usage(2000, 10, cached)) for cached in (0, 1500))
    row = methods(house)["prompt_cache"]
    assert (row["calls"], row["tokens"], row["saved_usd"]) == (1, 1500, told(plain - real))


def test_shorter_prompts_are_measured_by_what_was_left_out(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    body = {"model": "t-compact", "messages": [{"role": "user", "content": "word   \n\n\n\n\n" * 200}]}
    found = house.ask("POST", PATH, body)
    left_out = int(found.headers["x-gateway-tokens-saved"])
    assert left_out > 0
    row = methods(house)["compaction"]
    assert (row["calls"], row["tokens"]) == (1, left_out)
    price = card(house, "t-compact")
    assert row["saved_usd"] == told(cost_llm(price, Usage(11 + left_out, 3)) - cost_llm(price, Usage(11, 3)))


def test_nothing_is_all_zeros_and_bad_times_are_refused(house: House) -> None:
    found = house.ask("GET", "/savings").body
    assert found["saved_usd"] == 0
    assert {row["saved_usd"] for row in found["methods"]} == {0}
    assert found["recommendations"] == []
    assert house.ask("GET", "/savings?since=soon").status == 422


def record(house: House, model: str, count: int, score: float | None, **fields: Any) -> None:
    """Calls of a model, each scored where ``score`` is given."""
    price, usage = card(house, model), Usage(500, 100, basis="provider")
    for number in range(count):
        cause = f"{model}-{score}-{number}-{fields}"
        charge = Charge(cause, "llm", "root", model, "openai", cause, **fields)
        settled = house.core.ledger.record(charge, cost=cost_llm(price, usage), card=price.name, usage=usage)
        if score is not None:
            given = {"entry_id": settled.entry.entry_id, "score": score}
            key = house.key("developer", principal="root")
            assert house.ask("POST", "/feedback", given, key=key).status == 201


def test_a_choice_is_measured_against_the_best(house: House) -> None:
    record(house, "t-plain", 30, 1.0)  # nearly as good as t-good now, for nothing
    house.core.learner.exchange()
    house.upstream.play(answer(openai_answer()))
    text = "word " * 200
    for number in range(6):
        body = {"model": "t-auto", "messages": [{"role": "user", "content": text}], "seed": number}
        assert house.ask("POST", PATH, body).status == 200
    usage = house.ask("GET", "/usage?by=model&provider=openai").body["rows"]
    plain = sum(row["calls"] for row in usage if row["model"] == "t-plain") - 30
    assert plain > 0
    row = methods(house)["selection"]
    best = cost_llm(card(house, "t-good"), Usage(11, 3))
    assert (row["calls"], row["saved_usd"]) == (plain, told(plain * best))


def test_a_cheaper_model_that_is_as_good_is_advised_and_can_be_worked_out_again(house: House) -> None:
    record(house, "gpt-4", 40, 0.9, team="risk", workflow_id="wf")
    record(house, "gpt-4", 60, None, team="other")
    record(house, "gpt-4o-mini", 40, 0.9, team="risk", workflow_id="wf")
    found = house.ask("GET", "/savings").body
    (advice,) = found["recommendations"]
    assert advice["where"] == {"model": "gpt-4", "team": "risk", "workflow_id": "wf"}
    assert (advice["kind"], advice["calls"], advice["share_of_calls"]) == ("cheaper_model", 40, 0.4)
    assert advice["evidence"]["instead"] == "gpt-4o-mini"

    # The same from the two pages that it names, and the price card.
    usage, ratings = (house.ask("GET", path).body["rows"] for path in advice["reproduce"])
    (row,) = [row for row in usage if (row["model"], row["team"], row["workflow"]) == ("gpt-4", "risk", "wf")]
    average = Usage(row["input_tokens"] // row["calls"], row["output_tokens"] // row["calls"])
    cheap = cost_llm(card(house, "gpt-4o-mini"), average) * row["calls"]
    assert advice["saves_usd"] == pytest.approx(row["cost"] - told(cheap), abs=1e-10)

    def mean(model: str) -> tuple[float, float]:
        (scored,) = [item for item in ratings if item["model"] == model]
        count, middle = scored["ratings"] + 2, (scored["sum"] + 1) / (scored["ratings"] + 2)
        return middle, ((scored["sum_of_squares"] + 1) / count - middle**2) / count

    (one, one_error), (other, other_error) = mean("gpt-4"), mean("gpt-4o-mini")
    bound = one - other + 1.2816 * sqrt(one_error + other_error)
    assert advice["evidence"]["difference_at_most"] == pytest.approx(bound, abs=1e-6)
    assert bound <= advice["evidence"]["margin"]


@pytest.mark.parametrize(("count", "score", "workflow"), [(5, 0.9, "wf"), (40, 0.7, "wf"), (40, 0.9, "another")])
def test_too_little_worse_or_elsewhere_is_no_advice(house: House, count: int, score: float, workflow: str) -> None:
    record(house, "gpt-4", 40, 0.9, workflow_id="wf")
    record(house, "gpt-4o-mini", count, score, workflow_id=workflow)
    assert house.ask("GET", "/savings").body["recommendations"] == []


def test_long_prompts_that_no_cache_serves_are_named_with_a_bound(house: House) -> None:
    price, usage = card(house, "gpt-4o"), Usage(3000, 100, 0, basis="provider")
    for number in range(100):
        charge = Charge(f"c{number}", "llm", "root", "gpt-4o", "openai", f"r{number}")
        house.core.ledger.record(charge, cost=cost_llm(price, usage), card=price.name, usage=usage)
    (advice,) = house.ask("GET", "/savings").body["recommendations"]
    most = 100 * (cost_llm(price, usage) - cost_llm(price, msgspec.structs.replace(usage, cached_tokens=3000)))
    assert (advice["kind"], advice["at_most"], advice["saves_usd"]) == ("prompt_cache", True, told(most))


def test_everybody_sees_their_own_and_the_command_line_tells_it(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.upstream.play(answer(openai_answer()))
    chat(house, "gpt-4", "equal", x_gateway_cache="60")
    chat(house, "gpt-4", "equal", x_gateway_cache="60")
    other = house.ask("GET", "/savings", key=house.key("developer", principal="other")).body
    assert (other["calls"], other["saved_usd"]) == (0, 0)
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
    make_app(["usage"])(args=["usage", "savings"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "exact_cache" in out
    assert f"saved ${Decimal(str(house.ask('GET', '/savings').body['saved_usd']))}" in out
