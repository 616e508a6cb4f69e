"""Calls at once: no more than the limit, and a place is free again however a call ends; counted in one process,
and in a store that processes share."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from fixtures.house import ROOT_KEY, Answer, House, running_house
from fixtures.upstream import Play, answer, anthropic_answer, events, openai_answer, openai_chunks
from gateway.cli.embedded_broker import broker_program, start_broker
from gateway.cli.main import main

MODELS = """
  t-single: {type: llm, provider: openai, upstream_model: single, price: none, limits: {max_concurrent: 1}}
  t-barred:
    type: llm
    provider: openai
    upstream_model: barred
    price: none
    guards: [{guard: limits, banned: ["forbidden"]}]
  t-mod: {type: moderation, provider: openai, upstream_model: omni-moderation-latest, price: none}
  t-vector: {type: embedding, provider: openai, upstream_model: text-embedding-3-small, price: none}
"""
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
HELLO: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
GOOD, PIECES, MESSAGE = answer(openai_answer()), events(*openai_chunks("Hi")), answer(anthropic_answer())
VECTOR: dict[str, Any] = {
    "object": "list",
    "data": [{"index": 0, "embedding": [0.5], "object": "embedding"}],
    "model": "e",
}
VECTOR |= {"usage": {"prompt_tokens": 1, "total_tokens": 1}}
JUDGED = {"id": "m", "model": "omni", "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}
BAD = answer({"error": {"message": "no", "type": "invalid_request_error"}}, 400)
CUT = Play(
    200, [b'data: {"choices": [{"index": 0, "delta": {"content": "He"}}]}\n\n'], {"content-type": "text/event-stream"}
)


@pytest.fixture(scope="module", params=["alone", "shared"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, url, stop = tmp_path_factory.mktemp("places"), "", None
    if request.param == "shared":
        if broker_program() is None:
            pytest.skip("no Valkey wheel fits this platform")
        broker = start_broker(folder, dict(os.environ), folder / "log")
        assert broker is not None
        assert broker.wait()
        url, stop = broker.url, broker.child.stop
    with running_house(folder, GATEWAY_LIMITS_URL=url) as running:
        models = folder / "config" / "models.yaml"
        head, defaults, rest = models.read_text().partition("# The model of a task type that names none.")
        models.write_text(head + MODELS + defaults + rest)
        assert running.core.catalogue.refresh(), running.core.catalogue.last_error
        yield running
    if stop is not None:
        stop()


class Held:
    """A provider that answers when it is ``let``; of a stream it says the first piece before."""

    def __init__(self, *, stream: bool, speaks: bool = True) -> None:
        self.asked, self.let = threading.Event(), threading.Event()
        self._stream, self._speaks = stream, speaks

    async def __call__(self, _request: web.Request, _raw: bytes) -> web.StreamResponse:
        first, *rest = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in openai_chunks("We", "ll.")[1:]]
        self.asked.set()
        if not self._stream:
            await asyncio.to_thread(self.let.wait, 10)
            return web.json_response(openai_answer())
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(_request)
        if self._speaks:
            await response.write(first)
        await asyncio.to_thread(self.let.wait, 10)
        await response.write(b"".join(rest) + b"data: [DONE]\n\n")
        await response.write_eof()
        return response


@contextmanager
def running_call(
    house: House, key: str, *, stream: bool = False, speaks: bool = True, model: str = "gpt-4"
) -> Iterator[tuple[Held, http.client.HTTPConnection]]:
    """A call that is with the provider (and, of a stream that speaks, has begun to answer)."""
    held = Held(stream=stream, speaks=speaks)
    house.upstream.beside = held
    connection = http.client.HTTPConnection(urlsplit(house.url).netloc, timeout=20)
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    try:
        connection.request("POST", CHAT, json.dumps({**HELLO, "model": model, "stream": stream}), headers)
        assert held.asked.wait(10)
        house.upstream.beside = None
        yield held, connection
    finally:
        house.upstream.beside = None
        held.let.set()
        connection.close()


def ask(house: House, key: str, path: str = CHAT, play: Play = GOOD, headers: Any = None, **fields: Any) -> Answer:
    house.upstream.play(play)
    return house.ask("POST", path, {**HELLO, **fields}, key=key, headers=headers)


def single(house: House, **fields: Any) -> str:
    return house.key("developer", max_concurrent=1, **fields)


@pytest.mark.parametrize("stream", [False, True])
def test_no_more_than_the_limit_run_at_once(house: House, stream: bool) -> None:
    key = house.key("developer", max_concurrent=2, requests_per_minute=9)
    with running_call(house, key, stream=stream) as (one, first), running_call(house, key) as (other, second):
        refused = ask(house, key)
        assert (refused.status, refused.headers["retry-after"], refused.headers["x-should-retry"]) == (429, "1", "true")
        told = refused.body["error"]["details"]
        assert (told["scope"], told["window"], told["limit"], told["used"]) == ("key", "concurrent", 2, 2)
        assert ask(house, single(house)).status == 200, "another key's are its own"
        other.let.set()
        assert second.getresponse().status == 200
        found = ask(house, key)
        assert found.status == 200
        assert found.headers["x-ratelimit-remaining-requests"] == "6", "the refused call took nothing"
        one.let.set()
        assert first.getresponse().read()


@pytest.mark.parametrize("scope", ["user", "team", "model"])
def test_users_teams_and_models_have_places_too(house: House, scope: str) -> None:
    field = {"user": "principal", "team": "team", "model": "name"}[scope]
    named = {field: f"crowd-{scope}"} if scope != "model" else {}
    model = "t-single" if scope == "model" else "gpt-4"
    if scope != "model":
        body = {"scope": scope, "subject": f"crowd-{scope}", "max_concurrent": 1}
        assert house.ask("PUT", "/limits", body).body["max_concurrent"] == 1
    keys = [house.key("developer", max_concurrent=5, **named) for _ in range(2)]
    with running_call(house, keys[0], model=model) as (held, connection):
        refused = ask(house, keys[1], model=model)
        assert refused.status == 429
        assert refused.body["error"]["details"]["scope"] == scope
        held.let.set()
        assert connection.getresponse().status == 200
    assert ask(house, keys[1], model=model).status == 200


def budgeted(house: House) -> tuple[str, Callable[[], object]]:
    """A key that may spend nothing, until it may."""
    key = single(house, principal="poor")
    body = {"scope": "user", "subject": "poor", "limit_usd": "0", "window": "lifetime"}
    made = house.ask("POST", "/budgets", body).body
    return key, lambda: house.ask("DELETE", f"/budgets/{made['id']}")


ENDINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "an answer": (200, {}),
    "an answer of Anthropic's": (200, {"path": MESSAGES, "model": "claude-3-sonnet", "play": MESSAGE}),
    "the provider's refusal": (400, {"play": BAD}),
    "a broken connection": (502, {"play": Play(200, [b"{"], {"content-type": "application/json"}, 0.0, True)}),
    "a guard's refusal": (400, {"model": "t-barred", "messages": [{"role": "user", "content": "forbidden"}]}),
    "a stream": (200, {"stream": True, "play": events(*openai_chunks("He", "llo"))}),
    "a stream of a guarded model": (200, {"stream": True, "model": "t-barred", "play": PIECES}),
    "a stream that is refused": (400, {"stream": True, "play": BAD}),
    "a stream that breaks off": (200, {"stream": True, "play": Play(200, CUT.chunks, CUT.headers, 0.0, True)}),
    "a stream without an end": (200, {"stream": True, "play": CUT}),
    "an empty stream": (502, {"stream": True, "play": events()}),
    "an answer to keep": (200, {"headers": {"x-gateway-cache": "60"}, "seed": 1}),
    "a stream to keep": (200, {"headers": {"x-gateway-cache": "60"}, "stream": True, "play": PIECES}),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_place_is_free_however_a_call_ends(house: House, ending: str) -> None:
    key = single(house)
    status, asked = ENDINGS[ending]
    for _ in range(2):
        found = ask(house, key, **asked)
        assert found.status == status, found.raw
    assert ask(house, key).status == 200


def test_a_place_is_free_after_a_refusal_for_money(house: House) -> None:
    key, allow = budgeted(house)
    assert [ask(house, key).status for _ in range(2)] == [402, 402]
    allow()
    assert ask(house, key).status == 200


@pytest.mark.parametrize(
    ("path", "body", "play", "status"),
    [
        ("/v1/embeddings", {"model": "t-vector", "input": "a"}, answer(VECTOR), 200),
        ("/v1/embeddings", {"model": "t-vector", "input": "a"}, BAD, 400),
        ("/v1/moderations", {"model": "t-mod", "input": "a"}, answer(JUDGED), 200),
        ("/v1/moderations", {"model": "t-mod", "input": "a"}, BAD, 400),
        ("/v1/responses", {"model": "gpt-4", "input": "a"}, answer(openai_answer()), 200),
        ("/v1/responses", {"model": "gpt-4", "input": "a", "stream": True}, PIECES, 200),
        ("/v1/messages/count_tokens", {"model": "gpt-4", "messages": HELLO["messages"]}, GOOD, 200),
        ("/tokens/count", {"model": "gpt-4", "text": "a"}, GOOD, 200),
        ("/execute/llm", {"input_data": {"prompt": "a"}, "model_config": {"name": "gpt-4"}}, GOOD, 200),
        ("/execute/ml", {"input_data": {}, "model_config": {"name": "risk-classifier"}}, GOOD, 503),
    ],
)
def test_a_place_is_free_after_every_kind_of_call(
    house: House, path: str, body: dict[str, Any], play: Play, status: int
) -> None:
    key = single(house)
    for _ in range(2):
        house.upstream.play(play)
        found = house.ask("POST", path, body, key=key)
        assert found.status == status, found.raw
    assert ask(house, key).status == 200


@pytest.mark.parametrize("speaks", [False, True])
def test_a_place_is_free_when_the_client_of_a_stream_leaves(house: House, speaks: bool) -> None:
    key = single(house)
    with running_call(house, key, stream=True, speaks=speaks) as (_, connection):
        if speaks:
            assert connection.getresponse().readline()
        assert ask(house, key).status == 429
        connection.close()
        house.until(lambda: ask(house, key).status, lambda status: status == 200)


def test_a_client_that_leaves_a_whole_answer_holds_its_place_no_longer_than_the_call(house: House) -> None:
    key = single(house)
    with running_call(house, key) as (held, connection):
        connection.close()
        held.let.set()
        house.until(lambda: ask(house, key).status, lambda status: status == 200)


def test_a_step_of_a_workflow_gives_its_place_back(house: House) -> None:
    key = single(house)
    house.upstream.play(GOOD)
    body = {"task_type": "llm_analysis", "input_data": {"prompt": "Hello"}, "model_config": {"name": "gpt-4"}}
    made = house.ask("POST", "/tasks", body, key=key)
    assert made.status == 202, made.body
    assert house.ended(f"/tasks/{made.body['task_id']}", key=key)["status"] == "completed"
    assert ask(house, key).status == 200


def test_keys_get_their_places_by_the_api_and_the_command_line(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    made = house.ask("POST", "/keys", {"name": "n", "role": "developer", "max_concurrent": 3})
    assert (made.status, made.body["max_concurrent"]) == (201, 3)
    assert house.ask("GET", f"/keys/{made.body['id']}").body["max_concurrent"] == 3
    wrong = house.ask("POST", "/keys", {"name": "n", "role": "developer", "max_concurrent": 0})
    assert (wrong.status, wrong.body["param"]) == (422, "max_concurrent")
    maker = house.key("operator", max_concurrent=2)
    assert house.ask("POST", "/keys", {"name": "n", "role": "viewer", "max_concurrent": 3}, key=maker).status == 403
    assert house.ask("POST", "/keys", {"name": "n", "role": "viewer"}, key=maker).body["max_concurrent"] == 2
    for arguments in (
        ["keys", "create", "n", "--concurrent", "4", "--json"],
        ["limits", "set", "team", "cli", "--concurrent", "4", "--json"],
    ):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--url", house.url, "--key", ROOT_KEY])
        assert not ended.value.code
        assert json.loads(capsys.readouterr().out)["max_concurrent"] == 4
