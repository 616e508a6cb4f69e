"""``/v1/batches`` with OpenAI's own SDK: each line is a call like any other, and counts once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import openai
import pytest
from openai.types import Batch

from fixtures.house import House
from fixtures.money_kit import ManualClock
from fixtures.upstream import Play, answer, openai_answer
from gateway.clock import SECOND
from gateway.ids import new_id
from gateway.ledger.entry import Charge, UsageFilter
from gateway.security.access import caller_for
from gateway.store.batch_store import KeptBatch, SqlBatchStore
from gateway.tasks.submission import TaskSubmission

CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "cancelled", "expired")
EMBEDDED = {"data": [{"index": 0, "embedding": [0.5]}], "model": "e", "usage": {"prompt_tokens": 2}}


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    key = house.key("developer", principal=new_id("user"))
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=0) as made:
        yield made


def line(name: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": "t-good", "messages": [{"role": "user", "content": name}], "max_tokens": 9}
    return {"custom_id": name, "method": "POST", "url": url, "body": {**asked, **body} if url == CHAT else body}


def hand_in(client: openai.OpenAI, lines: Sequence[Any], endpoint: Any = CHAT, **more: Any) -> Batch:
    content = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in lines)
    given = client.files.create(file=("in.jsonl", content.encode()), purpose="batch")
    return client.batches.create(input_file_id=given.id, endpoint=endpoint, completion_window="24h", **more)


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    found: Batch = House.until(lambda: client.batches.retrieve(batch.id), lambda item: item.status in ENDED)
    return found


def told(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(text) for text in client.files.content(file_id).text.splitlines()]


def test_a_batch_of_chats(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer("Hi.")))
    made = hand_in(client, [line("a"), "", line("b"), line("c", model="gpt-9")], metadata={"for": "test"})
    assert (made.status, made.metadata) == ("validating", {"for": "test"})
    done = ended(client, made)
    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 3, "completed": 2, "failed": 1}
    first, second = told(client, done.output_file_id)
    assert [first["custom_id"], second["custom_id"]] == ["a", "b"]
    assert first["response"]["status_code"] == 200
    assert first["response"]["body"]["choices"][0]["message"]["content"] == "Hi."
    assert first["error"] is None
    (failed,) = told(client, done.error_file_id)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("c", 404)
    assert failed["response"]["body"]["error"]["code"] == "model_not_found"
    entries, _ = house.core.ledger.entries(UsageFilter(task_id=done.to_dict()["task_id"]))  # type: ignore[arg-type]
    assert sorted(entry.cause for entry in entries) == [f"{done.id}:1", f"{done.id}:3"]
    assert done.in_progress_at is not None
    assert done.finalizing_at is not None
    assert done.completed_at is not None
    assert [item.id for item in client.batches.list(limit=1)] == [done.id]


def test_batches_of_the_other_endpoints(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer("Hi.")))
    asked = hand_in(client, [line("r", "/v1/responses", model="t-good", input="a")], "/v1/responses")
    done = ended(client, asked)
    (found,) = told(client, done.output_file_id)
    kept = found["response"]["body"]
    assert kept["output"][0]["content"][0]["text"] == "Hi."
    assert client.responses.retrieve(kept["id"]).id == kept["id"], "it is kept as any other"
    house.upstream.play(answer(EMBEDDED))
    done = ended(client, hand_in(client, [line("e", "/v1/embeddings", model="t-embed", input="a")], "/v1/embeddings"))
    assert told(client, done.output_file_id)[0]["response"]["body"]["data"][0]["embedding"] == [0.5]


def test_what_is_wrong_is_told_by_line(house: House, client: openai.OpenAI) -> None:
    lines = [line("a"), "{", line("a"), {**line("b"), "method": "GET"}, {**line("c"), "url": "/v1/x"}]
    lines += [line("d", stream=True), {**line("e"), "body": {}}, {**line("f"), "zzz": 1}]
    done = ended(client, hand_in(client, lines))
    assert (done.status, done.output_file_id) == ("failed", None)
    assert done.errors is not None
    found = [(item.line, item.code, item.param) for item in done.errors.data or ()]
    assert found == [
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "invalid_request", "method"),
        (5, "invalid_request", "url"),
        (6, "invalid_request", "body.stream"),
        (7, "invalid_request", "body.model"),
        (8, "invalid_request", "zzz"),
    ]


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"endpoint": "/v1/x"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"input_file_id": "file_none"}, 404, "file_id"),
        ({"metadata": {"a": 1}}, 400, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, 400, "output_expires_after"),
        ({"zzz": 1}, 400, "zzz"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_by_name(
    house: House, client: openai.OpenAI, change: dict[str, Any], status: int, param: str
) -> None:
    given = client.files.create(file=("in.jsonl", b"{}"), purpose="batch")
    body = {"input_file_id": given.id, "endpoint": CHAT, "completion_window": "24h", **change}
    found = house.ask("POST", "/v1/batches", body, key=client.api_key)
    assert (found.status, found.body["error"]["param"]) == (status, param)


def test_a_budget_binds_each_line(house: House) -> None:
    principal = new_id("user")
    key = house.key("developer", principal=principal)
    house.ask("POST", "/budgets", {"scope": "user", "subject": principal, "limit_usd": "0.000001", "window": "day"})
    house.upstream.play(answer(openai_answer()))
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key) as client:
        done = ended(client, hand_in(client, [line("a"), line("b")]))
        assert done.request_counts is not None
        assert done.request_counts.failed == 2
        assert {item["response"]["status_code"] for item in told(client, done.error_file_id)} == {402}
    assert house.upstream.sent == []


def test_what_passes_is_waited_out(house: House, client: openai.OpenAI) -> None:
    busy = [answer({"error": {"message": "slow down"}}, 429, **{"retry-after": "0"}) for _ in range(7)]
    house.upstream.play(*busy, answer(openai_answer()))
    done = ended(client, hand_in(client, [line("a", model="t-small")]))
    assert done.request_counts is not None
    assert done.request_counts.completed == 1


def test_a_batch_is_called_off(house: House, client: openai.OpenAI) -> None:
    content = [json.dumps(openai_answer()).encode()]
    slow = Play(200, content, {"content-type": "application/json"}, hang=1.2)
    house.upstream.play(answer(openai_answer()), answer(openai_answer()), slow)
    made = hand_in(client, [line(str(at)) for at in range(30)])
    House.until(lambda: client.batches.retrieve(made.id).request_counts, lambda counts: counts.completed >= 2)
    assert client.batches.cancel(made.id).status == "cancelling"
    done = ended(client, made)
    assert (done.status, done.cancelled_at is not None) == ("cancelled", True)
    assert done.request_counts is not None
    counts = done.request_counts
    assert counts.completed + counts.failed == 30
    assert len(told(client, done.output_file_id)) == counts.completed
    errors = [item["error"]["code"] for item in told(client, done.error_file_id) if item["error"]]
    assert set(errors) == {"batch_cancelled"}
    assert len(errors) >= 10
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(made.id)
    house.quiet()


def test_a_repeat_with_the_same_key_is_the_same_batch(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    given = client.files.create(file=("in.jsonl", json.dumps(line("a")).encode()), purpose="batch")
    body = {"input_file_id": given.id, "endpoint": CHAT, "completion_window": "24h"}
    first, again = (
        house.ask("POST", "/v1/batches", body, key=client.api_key, headers={"idempotency-key": "k"}) for _ in range(2)
    )
    assert (first.body["id"], again.headers["idempotent-replayed"]) == (again.body["id"], "true")
    assert len(list(client.batches.list())) == 1


def test_another_tenant_finds_nothing(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    made = ended(client, hand_in(client, [line("a")]))
    stranger = house.key("developer", principal="stranger")
    assert house.ask("GET", f"/v1/batches/{made.id}", key=stranger).status == 404
    assert house.ask("POST", f"/v1/batches/{made.id}/cancel", {}, key=stranger).status == 404
    body = {"input_file_id": made.input_file_id, "endpoint": CHAT, "completion_window": "24h"}
    assert house.ask("POST", "/v1/batches", body, key=stranger).status == 404
    task = house.ask("POST", "/tasks", {"task_type": "llm_batch", "input_data": {"batch_id": made.id}}, key=stranger)
    assert house.ended(f"/tasks/{task.body['task_id']}")["error"]["code"] == "not_found"


# -- a worker that died --------------------------------------------------------------------------


def left_behind(house: House, client: openai.OpenAI, count: int, later: float = 86_400) -> KeptBatch:
    """A batch as a dead worker leaves it: in progress, and no task of it running yet."""
    content = "\n".join(json.dumps(line(str(at))) for at in range(1, count + 1))
    given = client.files.create(file=("in.jsonl", content.encode()), purpose="batch")
    principal = house.services.identity.authenticate({"authorization": f"Bearer {client.api_key}"}).principal
    now = house.core.clock.now()
    made = KeptBatch(
        new_id("batch"), f"principal:{principal}", new_id("task"), "in_progress", CHAT, given.id, now,
        now + int(later * SECOND), total=count,
    )  # fmt: skip
    house.core.kept.batches.insert(made)
    return made


def take_over(house: House, batch: KeptBatch) -> None:
    """A second attempt at the batch's task."""
    caller = caller_for(batch.tenant.removeprefix("principal:"), "developer")
    given = TaskSubmission(house.core.task_types["llm_batch"], {"batch_id": batch.batch_id})
    house.services.desk.submit_task(caller, given, "req", task_id=batch.task_id)


def test_lines_that_have_their_result_are_not_done_again(house: House, client: openai.OpenAI) -> None:
    batch = left_behind(house, client, 3)
    house.core.kept.batches.add_lines(batch.batch_id, [(2, False, '{"custom_id": "2"}')])
    house.core.kept.batches.add_lines(batch.batch_id, [(2, True, "a late one")])
    house.upstream.play(answer(openai_answer()))
    take_over(house, batch)
    done = ended(client, client.batches.retrieve(batch.batch_id))
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 3, "completed": 3, "failed": 0}
    assert sorted(sent.body["messages"][0]["content"] for sent in house.upstream.sent) == ["1", "3"]
    assert [item["custom_id"] for item in told(client, done.output_file_id)] == ["1", "2", "3"]


def test_a_line_that_was_charged_is_not_sent_again(house: House, client: openai.OpenAI) -> None:
    batch = left_behind(house, client, 2)
    charge = Charge(cause=f"{batch.batch_id}:1", kind="llm", principal="p", model="m", provider="q", request_id="r")
    house.core.ledger.record(charge, cost=1, card="c")
    house.upstream.play(answer(openai_answer()))
    take_over(house, batch)
    done = ended(client, client.batches.retrieve(batch.batch_id))
    assert [sent.body["messages"][0]["content"] for sent in house.upstream.sent] == ["2"]
    (lost,) = told(client, done.error_file_id)
    assert (lost["custom_id"], lost["response"]["status_code"]) == ("1", 409)


def test_a_batch_whose_time_is_over_is_expired(house: House, client: openai.OpenAI) -> None:
    batch = left_behind(house, client, 2, later=0)
    take_over(house, batch)
    done = ended(client, client.batches.retrieve(batch.batch_id))
    assert done.status == "expired"
    assert [item["error"]["code"] for item in told(client, done.error_file_id)] == ["batch_expired"] * 2


def test_a_batch_that_nobody_will_end_is_swept(house: House, client: openai.OpenAI) -> None:
    batch = left_behind(house, client, 2)
    house.core.kept.batches.add_lines(batch.batch_id, [(1, False, '{"custom_id": "1"}')])
    later = SqlBatchStore(house.core.database, ManualClock(batch.expires_at + 400 * SECOND))
    assert later.sweep() >= 1
    done = client.batches.retrieve(batch.batch_id)
    assert done.status == "expired"
    assert len(told(client, done.output_file_id)) == 1
