"""``/v1/batches`` by the batch APIs of the providers: handed over once, charged at the batch price."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types import Batch

from fixtures.batch_upstream import BatchUpstream, good
from fixtures.house import House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.ids import new_id
from gateway.ledger.entry import Entry, UsageFilter
from gateway.money import usd
from gateway.security.audit import AuditFilter
from unit.api.test_batches_door import CHAT, ended, hand_in, line, told


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house"), GATEWAY_BATCH_POLL="1") as running:
        yield running


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    key = house.key("developer", principal=new_id("user"))
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=0) as made:
        yield made


@pytest.fixture
def provider(house: House) -> BatchUpstream:
    house.upstream.play(answer(openai_answer("At once.")))
    return BatchUpstream(house.upstream)


def entries(house: House, batch: Batch) -> list[Entry]:
    found, _ = house.core.ledger.entries(UsageFilter(task_id=batch.to_dict()["task_id"]))  # type: ignore[arg-type]
    return sorted(found, key=lambda entry: entry.cause)


def handling(batch: Batch) -> Any:
    return batch.to_dict()["gateway"]


def texts(lines: list[dict[str, Any]]) -> dict[str, str]:
    return {item["custom_id"]: item["response"]["body"]["choices"][0]["message"]["content"] for item in lines}


@pytest.mark.parametrize(
    ("usage", "flag"),
    [
        (None, "usage_missing"),
        ({"prompt_tokens": -11, "completion_tokens": -3}, "negative_input_tokens,negative_output_tokens"),
        ({"prompt_tokens": 10**12, "completion_tokens": 3}, "absurd_input_tokens"),
    ],
)
def test_odd_usage_in_a_batch_is_estimated_and_flagged(
    client: openai.OpenAI, house: House, provider: BatchUpstream, usage: dict[str, int] | None, flag: str
) -> None:
    provider.reply = lambda _body: (200, openai_answer("One two three.", usage=usage))
    done = ended(client, hand_in(client, [line("a", model="gpt-4o")]))
    (entry,) = entries(house, done)
    assert (entry.basis, entry.flags) == ("estimated", flag)
    assert 0 < entry.input_tokens < 200
    assert 0 < entry.output_tokens < 20


def test_a_batch_goes_by_openais_own(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    lines = [line("a", model="gpt-4o"), line("b", model="gpt-4o"), line("c", model="gpt-9")]
    done = ended(client, hand_in(client, lines))
    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 3, "completed": 2, "failed": 1}
    output = told(client, done.output_file_id)
    assert texts(output) == {"a": "a!", "b": "b!"}
    assert told(client, done.error_file_id)[0]["response"]["body"]["error"]["code"] == "model_not_found"
    assert house.upstream.sent == [], "no line was asked alone"
    ways = handling(done)
    (row,) = provider.batches.values()
    part = ways["provider"]["batches"][0]
    assert (part["id"], part["provider"], part["requests"], part["status"]) == (row["id"], "openai", 2, "completed")
    assert row["metadata"]["gateway_part"].startswith("part_")
    made = entries(house, done)
    assert [entry.cause for entry in made] == [f"{done.id}:1:provider", f"{done.id}:2:provider"]
    assert {entry.price_card.rpartition(" ")[2] for entry in made} == {"batch"}
    # 11 tokens in (4 of them cached, for which OpenAI's batch has no price of its own), 3 out; USD for a million:
    assert [float(usd(entry.cost) * 10**6) for entry in made] == [pytest.approx(11 * 1.25 + 3 * 5)] * 2
    assert ways["provider"]["full_price_usd"] * 10**6 == pytest.approx(2 * (7 * 2.5 + 4 * 1.25 + 3 * 10))
    saved = ways["provider"]["saved_usd"]
    assert float(saved) > 0
    report = house.ask("GET", f"/savings?task_id={done.to_dict()['task_id']}").body
    told_of = {row["method"]: row for row in report["methods"]}
    assert (told_of["batch_discount"]["calls"], told_of["batch_discount"]["saved_usd"]) == (2, pytest.approx(saved))
    assert ways["provider"]["cost_usd"] + saved == pytest.approx(ways["provider"]["full_price_usd"])
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (22, 6, 28)
    records, _ = house.core.audit.find(AuditFilter(request_id=output[0]["response"]["request_id"]))
    note = json.loads(records[0].detail)["batch"]
    assert (note["way"], note["batch"]) == ("provider", row["id"])
    assert provider.files == {}, "what was handed over is deleted at the provider"
    assert house.core.ledger.verify().ok


def test_a_batch_goes_by_anthropics_own(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["messages"][0]["content"][0]["text"] == "bad":
            return 400, {"error": {"type": "invalid_request_error", "message": "no such thing"}}
        return good(body)

    provider.reply = reply
    lines = [line("a", model="t-claude"), line("bad", model="t-claude")]
    done = ended(client, hand_in(client, lines))
    assert texts(told(client, done.output_file_id)) == {"a": "a!"}
    (failed,) = told(client, done.error_file_id)
    assert failed["custom_id"] == "bad"
    assert "no such thing" in failed["response"]["body"]["error"]["message"]
    (entry,) = entries(house, done)
    # 7 fresh, 2 read from and 1 written to the cache, 3 out; USD for a million: 1.5, 0.15, 1.875, 7.5
    assert float(usd(entry.cost) * 10**6) == pytest.approx(7 * 1.5 + 2 * 0.15 + 1.875 + 3 * 7.5)
    assert ("DELETE", f"/messages/batches/{next(iter(provider.batches))}") in provider.calls
    assert all("x-api-key" in headers for headers in provider.headers)
    assert house.core.ledger.verify().ok


def test_the_price_of_a_row_may_say_a_discount(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    done = ended(client, hand_in(client, [line("a", model="t-discount")]))
    (entry,) = entries(house, done)
    assert float(usd(entry.cost) * 10**6) == pytest.approx((11 * 10 + 3 * 30) * 0.6)
    assert handling(done)["provider"]["full_price_usd"] * 10**6 == pytest.approx(11 * 10 + 3 * 30)


def task(house: House, key: str, model: str = "gpt-4o", **config: Any) -> str:
    """The id of a task of one chat that is marked ``batch``."""
    body = {
        "task_type": "llm_analysis",
        "model_config": {"name": model, "batch": True, "parameters": {"max_tokens": 9}, **config},
        "input_data": {"prompt": "a"},
    }
    made = house.ask("POST", "/tasks", body, key=key)
    assert made.status == 202, made.body
    return str(made.body["task_id"])


def charges(house: House, task_id: str) -> list[Entry]:
    found, _ = house.core.ledger.entries(UsageFilter(task_id=task_id))
    return list(found)


def test_a_task_marked_batch_waits_without_its_worker(house: House, provider: BatchUpstream) -> None:
    provider.at_once = False
    key = house.key("developer", principal=new_id("user"))
    first, second = task(house, key), task(house, key)
    House.until(lambda: sum(map(len, provider.requests.values())), lambda count: count == 2)
    House.until(
        lambda: house.ask("GET", f"/tasks/{first}", key=key).body["progress_note"],
        lambda note: note == "the request is with its provider's batch API",
    )
    for name in provider.batches:
        provider.end(name)
    for task_id in (first, second):
        done = house.ended(f"/tasks/{task_id}", key=key)
        assert (done["status"], done["attempts"]) == ("completed", 1)
        assert done["result"]["response"] == "a!"
        (entry,) = charges(house, task_id)
        assert entry.price_card.endswith(" batch")
        assert done["result"]["cost"] == done["cost"] == float(usd(entry.cost)) > 0
    assert house.upstream.sent == []
    assert house.core.ledger.verify().ok


def test_a_task_marked_batch_without_a_way_there(house: House, provider: BatchUpstream) -> None:
    key = house.key("developer", principal=new_id("user"))
    done = house.ended(f"/tasks/{task(house, key, 't-good')}", key=key)
    assert done["result"]["response"] == "At once."
    assert provider.batches == {}
    insists = house.ended(f"/tasks/{task(house, key, 't-good', batch='provider')}", key=key)
    assert (insists["status"], insists["error"]["param"]) == ("failed", "model_config.batch")
    provider.refuse = (404, {"error": {"message": "Unknown request URL", "type": "invalid_request_error"}})
    refused = task(house, key)
    assert house.ended(f"/tasks/{refused}", key=key)["result"]["response"] == "At once."
    assert [entry.price_card.endswith(" batch") for entry in charges(house, refused)] == [False]
    config = {"name": "gpt-4o", "batch": "often"}
    bad = {"task_type": "llm_analysis", "model_config": config, "input_data": {"prompt": "a"}}
    found = house.ask("POST", "/tasks", bad, key=key)
    assert (found.status, found.body["param"]) == (422, "model_config.batch")


def test_a_task_whose_request_expired_is_handed_over_again(house: House, provider: BatchUpstream) -> None:
    provider.at_once = False
    key = house.key("developer", principal=new_id("user"))
    made = task(house, key)
    House.until(lambda: len(provider.batches), bool)
    provider.end(next(iter(provider.batches)), "expired", done=0)
    House.until(lambda: len(provider.batches), lambda count: count == 2)
    provider.end(list(provider.batches)[1])
    done = house.ended(f"/tasks/{made}", key=key)
    assert (done["status"], done["attempts"], len(charges(house, made))) == ("completed", 2, 1)


@pytest.mark.parametrize(
    ("model", "why"),
    [("t-good", "price_unknown"), ("t-inline", "model"), ("t-guarded", "guards"), ("t-mistral", "no_batch_api")],
)
def test_what_cannot_go_there_takes_the_usual_path_and_says_why(
    house: House, client: openai.OpenAI, provider: BatchUpstream, model: str, why: str
) -> None:
    done = ended(client, hand_in(client, [line("a", model=model)]))
    assert texts(told(client, done.output_file_id)) == {"a": "At once."}
    assert handling(done)["inline"][why]["requests"] == 1
    assert provider.batches == {}
    found = told(client, done.output_file_id)[0]["response"]["request_id"]
    house.core.calls.flush()
    records, _ = house.core.audit.find(AuditFilter(request_id=found))
    assert json.loads(records[0].detail)["batch"] == {"way": "inline", "why": why}


def test_a_batch_may_insist_or_decline(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    lines = [line("a", model="gpt-4o"), line("b", model="t-good")]
    done = ended(client, hand_in(client, lines, metadata={"gateway_batch": "provider"}))
    assert texts(told(client, done.output_file_id)) == {"a": "a!"}
    (refused,) = told(client, done.error_file_id)
    assert refused["response"]["body"]["error"]["param"] == "metadata.gateway_batch"
    assert "no batch price" in refused["response"]["body"]["error"]["message"]
    assert house.upstream.sent == []
    done = ended(client, hand_in(client, lines, metadata={"gateway_batch": "inline"}))
    assert texts(told(client, done.output_file_id)) == {"a": "At once.", "b": "At once."}
    with pytest.raises(openai.BadRequestError, match="gateway_batch"):
        hand_in(client, lines, metadata={"gateway_batch": "sometimes"})


def test_responses_go_too_and_embeddings_do_not(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    asked = hand_in(client, [line("r", "/v1/responses", model="gpt-4o", input="a")], "/v1/responses")
    done = ended(client, asked)
    body = told(client, done.output_file_id)[0]["response"]["body"]
    assert body["output"][0]["content"][0]["text"] == "a!"
    assert client.responses.retrieve(body["id"]).id == body["id"]
    assert len(provider.batches) == 1


def test_a_provider_that_refuses_the_batch(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    provider.refuse = (404, {"error": {"message": "Unknown request URL", "type": "invalid_request_error"}})
    done = ended(client, hand_in(client, [line("a", model="gpt-4o")]))
    assert texts(told(client, done.output_file_id)) == {"a": "At once."}
    assert handling(done)["inline"]["refused"]["requests"] == 1
    assert "Unknown request URL" in handling(done)["provider"]["batches"][0]["problem"]
    (entry,) = entries(house, done)
    assert not entry.price_card.endswith("batch"), "it paid the usual price"
    provider.refuse, provider.fail = None, "invalid_json_line"
    insists = hand_in(client, [line("a", model="gpt-4o")], metadata={"gateway_batch": "provider"})
    done = ended(client, insists)
    assert "invalid_json_line" in told(client, done.error_file_id)[0]["response"]["body"]["error"]["message"]
    assert house.core.ledger.verify().ok


def test_a_submission_whose_answer_is_lost_is_found_again(
    house: House, client: openai.OpenAI, provider: BatchUpstream
) -> None:
    provider.lose = True
    done = ended(client, hand_in(client, [line("a", model="gpt-4o")]))
    assert texts(told(client, done.output_file_id)) == {"a": "a!"}
    assert len(provider.batches) == 1, "it was not handed over twice"
    provider.lose = True
    done = ended(client, hand_in(client, [line("b", model="t-claude")]))
    assert texts(told(client, done.output_file_id)) == {"b": "b!"}
    assert len(provider.batches) == 2
    assert len(entries(house, done)) == 1


def test_it_is_called_off_at_the_provider_too(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    provider.at_once = False
    made = hand_in(client, [line("a", model="gpt-4o"), line("b", model="gpt-4o")])
    House.until(lambda: [row["status"] for row in provider.batches.values()], lambda found: found == ["in_progress"])
    (name,) = provider.batches
    waits = house.ask("GET", f"/tasks/{made.to_dict()['task_id']}", key=client.api_key).body
    assert waits["attempts"] <= 1
    held = house.ask("GET", "/usage/entries", key=client.api_key)
    assert held.status in (200, 403)
    client.batches.cancel(made.id)
    House.until(lambda: provider.batches[name]["status"], lambda word: word == "cancelling")
    provider.end(name, "cancelled", done=1)
    done = ended(client, made)
    assert done.status == "cancelled"
    assert texts(told(client, done.output_file_id)) == {"a": "a!"}
    assert [item["error"]["code"] for item in told(client, done.error_file_id)] == ["batch_cancelled"]
    (entry,) = entries(house, done)
    assert entry.cause == f"{done.id}:1:provider"
    assert house.core.ledger.verify().ok


def test_what_the_provider_did_in_no_time_is_expired(
    house: House, client: openai.OpenAI, provider: BatchUpstream
) -> None:
    provider.at_once = False
    made = hand_in(client, [line("a", model="gpt-4o"), line("b", model="gpt-4o")])
    House.until(lambda: len(provider.batches), bool)
    provider.end(next(iter(provider.batches)), "expired", done=1)
    done = ended(client, made)
    assert texts(told(client, done.output_file_id)) == {"a": "a!"}
    assert "batch" in told(client, done.error_file_id)[0]["response"]["body"]["error"]["message"]
    assert [entry.cause for entry in entries(house, done)] == [f"{done.id}:1:provider"]


def test_the_worst_case_is_held_at_the_batch_price(house: House, provider: BatchUpstream) -> None:
    provider.at_once = False
    principal = new_id("user")
    key = house.key("developer", principal=principal)
    # 33 tokens in at most and 9 out are 0.0006 USD of t-discount: enough for one line at 0.6 of it, not for two
    body = {"scope": "user", "subject": principal, "limit_usd": "0.0005", "window": "day"}
    budget = house.ask("POST", "/budgets", body).body
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key) as client:
        made = hand_in(client, [line("a", model="t-discount"), line("b", model="t-discount")])
        House.until(lambda: len(provider.batches), bool)
        shown = house.ask("GET", "/budgets").body["budgets"]
        (mine,) = [item for item in shown if item["id"] == budget["id"]]
        assert 0 < mine["reserved_usd"] <= 0.0005
        provider.end(next(iter(provider.batches)))
        done = ended(client, made)
        assert len(told(client, done.output_file_id)) == 1
        assert told(client, done.error_file_id)[0]["response"]["status_code"] == 402
    (mine,) = [i for i in house.ask("GET", "/budgets").body["budgets"] if i["id"] == budget["id"]]
    assert mine["reserved_usd"] == 0


def test_the_task_of_a_batch_is_cancelled(house: House, client: openai.OpenAI, provider: BatchUpstream) -> None:
    provider.at_once = False
    made = hand_in(client, [line("a", model="gpt-4o")])
    House.until(lambda: len(provider.batches), bool)
    task = made.to_dict()["task_id"]
    House.until(
        lambda: house.ask("GET", f"/tasks/{task}", key=client.api_key).body["status"], lambda word: word == "pending"
    )
    assert house.ask("DELETE", f"/tasks/{task}", key=client.api_key).status in (200, 202)
    house.core.kept.sweep()
    house.core.kept.sweep()
    (name,) = provider.batches
    House.until(lambda: provider.batches[name]["status"], lambda word: word == "cancelling")
    provider.end(name, "cancelled", done=1)
    House.until(lambda: entries(house, made), bool)
    assert [entry.outcome for entry in entries(house, made)] == ["cancelled"]
    assert client.batches.retrieve(made.id).status == "cancelled"


def test_lines_of_several_models_are_parts_of_their_own(
    house: House, client: openai.OpenAI, provider: BatchUpstream
) -> None:
    lines = [
        line("a", model="gpt-4o"),
        line("b", model="gpt-4"),
        line("c", model="t-good"),
        line("d", model="t-claude"),
    ]
    done = ended(client, hand_in(client, lines))
    assert texts(told(client, done.output_file_id)) == {"a": "a!", "b": "b!", "c": "At once.", "d": "d!"}
    assert len(provider.batches) == 3
    assert CHAT == "/v1/chat/completions"
