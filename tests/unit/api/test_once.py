"""``Idempotency-Key``: one call, one charge, whoever repeats it, and whatever died in between."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from fixtures.house import ROOT_KEY, Answer, House
from fixtures.money_kit import ManualClock
from fixtures.upstream import Play, answer, anthropic_answer, events, openai_answer, openai_chunks
from gateway.clock import SECOND
from gateway.errors import Conflict, IdempotencyMismatch, StillRunning
from gateway.ids import new_id
from gateway.ledger.entry import Charge, UsageFilter
from gateway.store.idempotency_store import LEASE_SECONDS, KeptAnswer, SqlIdempotencyStore, Turn

CHAT: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}
EMBED: dict[str, Any] = {"model": "t-embed", "input": "Hello"}
EMBEDDED = {"data": [{"index": 0, "embedding": [0.5]}], "model": "e", "usage": {"prompt_tokens": 2}}
JUDGED = {"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": [{"flagged": False}]}
DOORS: dict[str, tuple[dict[str, Any], Any]] = {
    "/v1/chat/completions": (CHAT, openai_answer()),
    "/v1/responses": ({"model": "gpt-4", "input": "Hello"}, openai_answer()),
    "/v1/messages": ({**CHAT, "model": "claude-3-haiku"}, anthropic_answer()),
    "/v1/embeddings": (EMBED, EMBEDDED),
    "/v1/moderations": ({"input": "Hello"}, JUDGED),
}


def once(house: House, key: str, path: str, body: Any, who: str) -> Answer:
    return house.ask("POST", path, body, key=who, headers={"idempotency-key": key})


def entries(house: House, principal: str) -> int:
    return len(house.core.ledger.entries(UsageFilter(principal=principal))[0])


def somebody(house: House) -> tuple[str, str]:
    principal = new_id("user")
    return principal, house.key("developer", principal=principal)


@pytest.mark.parametrize("path", DOORS)
def test_a_repeat_gets_the_first_answer(house: House, path: str) -> None:
    principal, who = somebody(house)
    body, given = DOORS[path]
    house.upstream.play(answer(given))
    first, again = (once(house, "k", path, body, who) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert again.raw == first.raw
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-gateway-model"] == first.headers["x-gateway-model"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(house.upstream.sent) == entries(house, principal) == 1
    other = once(house, "k", path, {**body, "model": "other"}, who)
    assert other.status == 422
    assert "idempotency_mismatch" in other.raw.decode() or path == "/v1/messages"


def test_a_key_that_was_used_at_another_path_is_told_where(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    who = somebody(house)[1]
    assert once(house, "k", "/v1/chat/completions", CHAT, who).status == 200
    found = once(house, "k", "/tasks", {"task_type": "llm_analysis", "input_data": {"prompt": "x"}}, who)
    assert (found.status, found.body["code"]) == (422, "idempotency_mismatch")
    assert "another path: POST /v1/chat/completions" in found.body["detail"]
    other = once(house, "k", "/v1/chat/completions", {**CHAT, "max_tokens": 8}, who)
    assert "another path:" not in other.raw.decode()
    assert "another body" in other.raw.decode()


def test_a_key_of_before_routes_were_kept_is_still_known(house: House) -> None:
    store = SqlIdempotencyStore(house.core.database, ManualClock())
    turn = store.begin("alice", "old", "abc")
    assert isinstance(turn, Turn)
    assert store.finish(turn, KeptAnswer(200, {}, "kept"))
    assert store.begin("alice", "old", "abc POST /tasks") == KeptAnswer(200, {}, "kept")
    with pytest.raises(IdempotencyMismatch, match="another body"):
        store.begin("alice", "old", "def POST /tasks")


def test_a_key_is_of_its_principal(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    for _ in range(2):
        assert once(house, "shared", "/v1/chat/completions", CHAT, somebody(house)[1]).status == 200
    assert len(house.upstream.sent) == 2


def test_fifty_at_once_are_one_call_and_one_entry(house: House) -> None:
    principal, who = somebody(house)
    house.upstream.play(Play(200, [json.dumps(openai_answer()).encode()], {"content-type": "application/json"}, 0.3))
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: once(house, "k", "/v1/chat/completions", CHAT, who), range(50)))
    assert {item.status for item in found} == {200}
    assert len({item.raw for item in found}) == 1
    assert len(house.upstream.sent) == entries(house, principal) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_stream_is_given_again_byte_by_byte(house: House, path: str) -> None:
    principal, who = somebody(house)
    body = {**DOORS[path][0], "stream": True}
    house.upstream.play(events(*openai_chunks("Hel", "lo")))
    first, again = (once(house, "k", path, body, who) for _ in range(2))
    assert again.raw == first.raw
    assert b"Hel" in again.raw
    assert again.headers["content-type"].startswith("text/event-stream")
    assert len(house.upstream.sent) == entries(house, principal) == 1


def test_a_client_that_leaves_finds_the_whole_stream_when_it_comes_back(house: House) -> None:
    principal, who = somebody(house)
    body = {**CHAT, "stream": True}
    pieces = events(*openai_chunks("Hel", "lo"))
    house.upstream.play(Play(200, pieces.chunks, pieces.headers, hang=0.3))
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {who}\r\nIdempotency-Key: k\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", urlsplit(house.url).port or 0)) as client:
        client.sendall(head.encode() + content)
        while b"Hel" not in client.recv(65_536):
            continue
    again = once(house, "k", "/v1/chat/completions", body, who)
    assert again.raw.endswith(b"data: [DONE]\n\n")
    assert b'"lo"' in again.raw
    assert len(house.upstream.sent) == entries(house, principal) == 1


def test_an_error_that_cost_nothing_leaves_the_key_free(house: House) -> None:
    principal, who = somebody(house)
    house.upstream.play(answer({"error": {"message": "no"}}, 400), answer(openai_answer()))
    assert once(house, "k", "/v1/chat/completions", CHAT, who).status == 400
    assert once(house, "k", "/v1/chat/completions", CHAT, who).status == 200
    assert entries(house, principal) == 1
    assert once(house, "j", "/v1/chat/completions", {**CHAT, "zzz": 1}, who).status == 400
    assert once(house, "j", "/v1/chat/completions", CHAT, who).status == 200


def test_an_error_that_cost_something_is_given_again(house: House) -> None:
    principal, who = somebody(house)
    house.upstream.play(Play(200, [b"{not json"], {"content-type": "application/json"}))
    first = once(house, "k", "/v1/embeddings", EMBED, who)
    charged = entries(house, principal)
    sent = len(house.upstream.sent)
    assert first.status >= 500
    assert charged >= 1
    again = once(house, "k", "/v1/embeddings", EMBED, who)
    assert (again.status, again.body["error"]["code"]) == (first.status, first.body["error"]["code"])
    assert (entries(house, principal), len(house.upstream.sent)) == (charged, sent)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(house: House, key: str) -> None:
    found = once(house, key, "/v1/chat/completions", CHAT, ROOT_KEY)
    assert (found.status, found.body["error"]["param"]) == (400, "Idempotency-Key")


def test_a_key_opens_no_door(house: House) -> None:
    assert once(house, "k", "/v1/chat/completions", CHAT, "gw-wrong").status == 401
    assert once(house, "k", "/v1/chat/completions", CHAT, house.key("viewer", principal=new_id("u"))).status == 403


# -- over processes: two stores on one database -----------------------------------------------------


def store(house: House, later: float = 0) -> SqlIdempotencyStore:
    return SqlIdempotencyStore(house.core.database, ManualClock(house.core.clock.now() + int(later * SECOND)))


def charge(house: House, cause: str) -> None:
    made = Charge(cause=cause, kind="llm", principal="p", model="m", provider="q", request_id="r")
    house.core.ledger.record(made, cost=1, card="c")


def test_another_process_is_told_to_come_back(house: House) -> None:
    owner = new_id("user")
    turn = store(house).begin(owner, "k", "hash")
    assert isinstance(turn, Turn)
    with pytest.raises(StillRunning) as refused:
        store(house).begin(owner, "k", "hash")
    assert refused.value.retry_after
    with pytest.raises(IdempotencyMismatch):
        store(house).begin(owner, "k", "other")
    assert store(house).finish(turn, KeptAnswer(200, {}, "x"))
    assert store(house).begin(owner, "k", "hash") == KeptAnswer(200, {}, "x")


def test_a_process_that_died_is_followed_by_one_with_the_same_cause(house: House) -> None:
    owner = new_id("user")
    first = store(house).begin(owner, "k", "hash")
    assert isinstance(first, Turn)
    second = store(house, LEASE_SECONDS + 1).begin(owner, "k", "hash")
    assert isinstance(second, Turn)
    assert second.cause == first.cause
    assert not store(house).finish(first, KeptAnswer(200, {}, "late")), "the first one's turn is over"
    assert not store(house).renew(first)
    assert store(house).finish(second, KeptAnswer(200, {}, "y"))


@pytest.mark.parametrize("suffix", ["", "#2"])
def test_a_process_that_died_after_its_charge_is_followed_by_nobody(house: House, suffix: str) -> None:
    owner = new_id("user")
    first = store(house).begin(owner, "k", "hash")
    assert isinstance(first, Turn)
    charge(house, first.cause + suffix)
    with pytest.raises(Conflict, match="charged"):
        store(house, LEASE_SECONDS + 1).begin(owner, "k", "hash")


def test_a_key_is_free_after_a_day(house: House) -> None:
    owner = new_id("user")
    first = store(house).begin(owner, "k", "hash")
    assert isinstance(first, Turn)
    store(house).finish(first, KeptAnswer(200, {}, "x"))
    later = store(house, 86_401)
    second = later.begin(owner, "k", "other")
    assert isinstance(second, Turn)
    assert second.cause != first.cause
    assert later.sweep() >= 1


# -- what is made, not charged: a process that died after it was made ---------------------------------


def dies_before_it_answers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of this process are lost, and with them its leases."""

    def finish(_store: SqlIdempotencyStore, turn: Turn, _answer: KeptAnswer) -> bool:
        store(house).abandon(turn)
        return False

    monkeypatch.setattr(SqlIdempotencyStore, "finish", finish)


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/tasks", {"task_type": "llm_analysis", "input_data": {"prompt": "x"}}, "task_id"),
        ("/workflows/risk_analysis/runs", {"input": {"market_data": {}, "analysis_prompt": "x"}}, "run_id"),
        ("/v1/batches", {"endpoint": "/v1/chat/completions", "completion_window": "24h"}, "id"),
    ],
)
def test_what_was_made_is_not_made_again(
    house: House, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], name: str
) -> None:
    who = somebody(house)[1]
    if name == "id":
        form = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
        form += b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n--b--\r\n'
        sent = house.ask(
            "POST", "/v1/files", form, key=who, headers={"content-type": "multipart/form-data; boundary=b"}
        )
        body = {**body, "input_file_id": sent.body["id"]}
    dies_before_it_answers(house, monkeypatch)
    first, again = (once(house, "k", path, body, who) for _ in range(2))
    assert first.status in (200, 202), first.body
    assert "idempotent-replayed" not in again.headers
    assert again.body[name] == first.body[name]
    house.quiet()
