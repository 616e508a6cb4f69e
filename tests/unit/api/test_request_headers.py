"""Headers that belong to what is asked: on to a provider of their dialect, named in the answer elsewhere."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import anthropic
import pytest

from fixtures.house import ROOT_KEY, Answer, House
from fixtures.upstream import answer, anthropic_answer, anthropic_events, events, openai_answer
from gateway.ledger.entry import UsageFilter

MESSAGES: dict[str, Any] = {"max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
CLAUDE = {"model": "claude-3-sonnet", **MESSAGES}
CHAT: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
BETA = {"anthropic-beta": "context-1m-2025-08-07, files-api-2025-04-14"}


def test_the_sdks_betas_reach_anthropic(house: House) -> None:
    house.upstream.play(answer(anthropic_answer()), events(*anthropic_events("Hi"), named=True, done=False))
    with anthropic.Anthropic(base_url=house.url, api_key=ROOT_KEY, max_retries=0) as client:
        betas = ["context-1m-2025-08-07", "files-api-2025-04-14"]
        client.beta.messages.create(betas=betas, **CLAUDE)
        with client.beta.messages.stream(betas=betas[:1], user_profile_id="uprof_1", **CLAUDE) as stream:
            assert stream.get_final_text() == "Hi"
    first, second = house.upstream.sent
    assert first.headers["anthropic-beta"] == ",".join(betas)
    assert second.headers["anthropic-beta"] == betas[0]
    assert second.headers["anthropic-user-profile-id"] == "uprof_1"
    assert second.headers["anthropic-version"] == "2023-06-01"


def test_a_call_without_them_sends_none(house: House) -> None:
    house.upstream.play(*(answer(anthropic_answer()) for _ in range(3)))
    for headers in (BETA, {}, BETA):
        house.ask("POST", "/v1/messages", CLAUDE, headers=headers)
    told = BETA["anthropic-beta"]
    assert [sent.headers.get("anthropic-beta") for sent in house.upstream.sent] == [told, None, told]


def test_counting_is_of_the_same_question(house: House) -> None:
    house.upstream.play(answer({"input_tokens": 5}))
    found = house.ask("POST", "/v1/messages/count_tokens", CLAUDE, headers=BETA)
    assert found.body == {"input_tokens": 5}
    assert house.upstream.sent[0].headers["anthropic-beta"] == BETA["anthropic-beta"]


@pytest.mark.parametrize("model", ["gpt-4", "t-gemini"])
def test_elsewhere_they_are_named(house: House, model: str) -> None:
    if model == "gpt-4":
        house.upstream.play(answer(openai_answer()))
        found = house.ask("POST", "/v1/messages", {**MESSAGES, "model": model}, headers=BETA)
        assert found.headers["x-gateway-dropped-params"] == "anthropic-beta"
        assert "anthropic-beta" not in house.upstream.sent[0].headers
    strict = house.ask(
        "POST", "/v1/messages", {**MESSAGES, "model": model}, headers={**BETA, "x-gateway-strict": "true"}
    )
    assert (strict.status, strict.body["error"]["type"]) == (400, "invalid_request_error")
    assert "anthropic-beta" in strict.body["error"]["message"]


def test_answers_are_kept_apart(house: House) -> None:
    house.upstream.play(*(answer(anthropic_answer(text)) for text in ("One", "Two")))
    asked = {**CLAUDE, "messages": [{"role": "user", "content": "Kept apart?"}]}
    told = [
        house.ask("POST", "/v1/messages", asked, headers={"x-gateway-cache": "60", **headers})
        for headers in ({}, BETA, {}, BETA)
    ]
    assert [found.body["content"][0]["text"] for found in told] == ["One", "Two", "One", "Two"]
    assert [found.headers["x-gateway-cache"] for found in told][2:] == ["hit", "hit"]


def test_two_lines_are_one_list(house: House) -> None:
    house.upstream.play(answer(anthropic_answer()))
    content, place = json.dumps(CLAUDE).encode(), urlsplit(house.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port)
    connection.putrequest("POST", "/v1/messages")
    for name, value in (("x-api-key", ROOT_KEY), ("content-type", "application/json")):
        connection.putheader(name, value)
    for value in ("one", "two"):
        connection.putheader("anthropic-beta", value)
    connection.putheader("content-length", str(len(content)))
    connection.endheaders(content)
    assert connection.getresponse().status == 200
    connection.close()
    assert house.upstream.sent[0].headers["anthropic-beta"] == "one,two"


def test_openais_beta_goes_to_openai(house: House) -> None:
    house.upstream.play(*[answer(openai_answer())] * 2, answer(anthropic_answer()))
    headers = {"OpenAI-Beta": "thing=v1", "OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1"}
    found = house.ask("POST", "/v1/chat/completions", CHAT, headers=headers)
    assert "x-gateway-dropped-params" not in found.headers
    sent = house.upstream.sent[0].headers
    assert sent["openai-beta"] == "thing=v1"
    assert not {"openai-organization", "openai-project"} & set(sent), "whose account is used is the operator's matter"
    by_responses = house.ask("POST", "/v1/responses", {"model": "gpt-4", "input": "Hello"}, headers=headers)
    assert by_responses.headers["x-gateway-dropped-params"] == "openai-beta"
    by_claude = house.ask("POST", "/v1/chat/completions", {**CHAT, "model": "claude-3-sonnet"}, headers=headers)
    assert by_claude.headers["x-gateway-dropped-params"] == "openai-beta"


def test_a_version_that_we_do_not_know_is_for_anthropic_to_judge(house: House) -> None:
    house.upstream.play(answer(anthropic_answer()), answer(anthropic_answer()), answer(openai_answer()))
    for version, told in (("2026-10-21", "2023-06-01"), ("2031-01-01", "2031-01-01")):
        house.ask("POST", "/v1/messages", CLAUDE, headers={"anthropic-version": version})
        assert house.upstream.sent[-1].headers["anthropic-version"] == told
    named = house.ask("POST", "/v1/messages", {**MESSAGES, "model": "gpt-4"}, headers={"anthropic-version": version})
    assert named.headers["x-gateway-dropped-params"] == "anthropic-version"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/messages", {"anthropic-beta": "<b>"}),
        ("/v1/messages", {"anthropic-beta": "b" * 1001}),
        ("/v1/messages", {"anthropic-version": "!"}),
        ("/v1/chat/completions", {"openai-beta": "\u00e9"}),
    ],
)
def test_what_is_none_is_refused(house: House, path: str, headers: dict[str, str]) -> None:
    found = house.ask("POST", path, CLAUDE if path == "/v1/messages" else CHAT, headers=headers)
    assert found.status == 400
    assert next(iter(headers)) in found.body["error"]["message"]


def told_twice(house: House, *lines: tuple[str, str]) -> Answer:
    """A chat whose headers hold these lines, each by itself."""
    connection = http.client.HTTPConnection(house.url.removeprefix("http://"), timeout=30)
    body = json.dumps({"model": "t-large", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    connection.putrequest("POST", "/v1/chat/completions")
    for name, value in (*lines, ("content-type", "application/json"), ("content-length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders(body)
    found = connection.getresponse()
    raw = found.read()
    connection.close()
    return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, json.loads(raw), raw)


def test_two_credentials_are_none(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    good, bad = ("authorization", f"Bearer {ROOT_KEY}"), ("authorization", "Bearer of-somebody-else")
    assert told_twice(house, good, good).status == 200
    assert told_twice(house, good, bad).status == 401
    assert told_twice(house, bad, good).status == 401


def test_tags_in_several_lines_all_count(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    key = ("authorization", f"Bearer {ROOT_KEY}")
    found = told_twice(house, key, ("x-gateway-tags", "lines=one"), ("x-gateway-tags", "nightly"))
    (made,) = house.core.ledger.entries(UsageFilter(request_id=found.headers["x-request-id"]))[0]
    assert "lines=one" in made.tags
    assert "nightly" in made.tags


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/models", "/", "/openapi.json"])
def test_what_can_be_read_has_a_head(house: House, path: str) -> None:
    whole, head = house.ask("GET", path), house.ask("HEAD", path, judged=False)
    assert (head.status, head.raw) == (whole.status, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    by_nobody = [house.ask(method, path, key="of-nobody-at-all", judged=False).status for method in ("HEAD", "GET")]
    assert by_nobody[0] == by_nobody[1]


def test_what_cannot_be_read_has_none(house: House) -> None:
    assert house.ask("HEAD", "/v1/chat/completions", judged=False).status == 405
    assert house.ask("HEAD", "/nowhere", judged=False).status == 404
