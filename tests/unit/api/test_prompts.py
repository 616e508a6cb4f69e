"""Stored prompts at every door: versions, labels and rights over REST, and what reaches the provider."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import House
from fixtures.prompt_door_kit import CHAT, DOORS, FORM, SCHEMA, USER, VARIABLES, made, noted, point
from fixtures.upstream import answer, anthropic_answer, anthropic_events, events, openai_answer, openai_chunks


def test_a_prompt_is_added_shown_compared_and_rendered(house: House) -> None:
    first = made(house, "rest.one", template="Sum up {{ facts }}.", comment="the first")
    assert (first["version"], first["variables"]) == (1, {"facts": {"type": "any", "required": True}})
    second = made(house, "rest.one", defaults={"model": "gpt-4", "parameters": {"temperature": 0.2}})
    assert second["messages"] == CHAT
    assert point(house, "rest.one", version=1, reason="known good").status == 200
    shown = house.ask("GET", "/prompts/rest.one").body
    assert (shown["version"], shown["labels"]) == (2, {"production": [{"version": 1, "weight": 1}]})
    assert [(one["version"], one["labels"], one["comment"]) for one in shown["versions"]] == [
        (2, [], ""),
        (1, ["production"], "the first"),
    ]
    assert house.ask("GET", "/prompts/rest.one?version=1").body["template"] == "Sum up {{ facts }}."
    changes = house.ask("GET", "/prompts/rest.one/diff?from=1&to=2").body["changes"]
    assert {"template", "messages[0] system", "variables.tone", "defaults.model"} < {one["field"] for one in changes}
    listed = {one["name"]: one for one in house.ask("GET", "/prompts").body["prompts"]}
    assert listed["rest.one"]["labels"] == shown["labels"]
    given = {"variables": {"facts": "VaR"}}
    rendered = house.ask("POST", "/prompts/rest.one/render", {**given, "version": 2})
    assert rendered.headers["x-gateway-prompt"] == "rest.one@2"
    assert rendered.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert rendered.body["tokens"]["basis"] == "estimated"
    assert rendered.body["defaults"]["parameters"] == {"temperature": 0.2}
    assert house.ask("POST", "/prompts/rest.one/render", given).body["prompt"]["label"] == "production"
    counted = house.ask("POST", "/prompts/rest.one/render", {**given, "model": "gpt-4"}).body["tokens"]
    assert counted == {"input": 12, "basis": "counted"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "a/b"}, "name"),
        ({"template": "x", "messages": CHAT}, "template"),
        ({"messages": None}, "template"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "{{ facts"}]}, "template"),
        ({"messages": [{"role": "user", "content": "{{ other }}"}]}, "variables.other"),
        ({"variables": {"facts": "text"}}, "variables.facts.type"),
        ({"variables": {"facts": {"type": "string", "minimum": 1}}}, "variables.facts.minimum"),
        ({"variables": {"facts": {"type": "string", "pattern": "(?=a)"}}}, "variables.facts.pattern"),
        ({"variables": {"facts": {"type": "string", "nothing": 1}}}, "variables.facts.nothing"),
        ({"variables": {"facts": {"type": "integer", "default": "x"}}}, "variables.facts.default"),
        ({"variables": {"__class__": "string"}}, "variables.__class__"),
        ({"defaults": {"parameters": {"n": 2}}}, "defaults.parameters.n"),
        ({"defaults": {"parameters": {"temperature": 9}}}, "defaults.parameters.temperature"),
        ({"defaults": {"response_format": {"type": "xml"}}}, "defaults.response_format.type"),
        ({"defaults": {"api_key": "x"}}, "defaults.api_key"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_version_that_is_none_is_refused_by_the_field(house: House, change: dict[str, Any], param: str) -> None:
    body = {"name": "bad.one", "messages": CHAT, "variables": VARIABLES, **change}
    found = house.ask("POST", "/prompts", body)
    assert (found.status, found.body["param"]) == (422, param), found.body


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "", None, 404),
        ("GET", "/diff", None, 404),
        ("GET", "/results", None, 404),
        ("POST", "/render", {}, 404),
        ("PUT", "/labels/staging", {"version": 1}, 404),
        ("POST", "/labels/staging/rollback", {}, 404),
        ("GET", "/labels/staging", None, 404),
        ("DELETE", "/labels/staging", None, 404),
    ],
)
def test_what_is_not_there(house: House, method: str, path: str, body: Any, status: int) -> None:
    assert house.ask(method, f"/prompts/no.such{path}", body).status == status


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "version"),
        ({"version": 1, "split": []}, "version"),
        ({"version": 9}, "version"),
        ({"version": True}, "version"),
        ({"split": [{"version": 1, "weight": 1}]}, "split"),
        ({"split": [{"version": 1, "weight": 1}, {"version": 1, "weight": 2}]}, "split"),
        ({"split": [{"version": 1, "weight": 0}, {"version": 2, "weight": 2}]}, "split[0].weight"),
        ({"version": 1, "reason": 7}, "reason"),
    ],
)
def test_a_label_that_cannot_point_there(house: House, body: dict[str, Any], param: str) -> None:
    if house.ask("GET", "/prompts/pointless").status == 404:
        made(house, "pointless", template="x")
    found = point(house, "pointless", **body)
    assert (found.status, found.body["param"]) == (404 if body.get("version") == 9 else 422, param)


def test_production_is_moved_only_by_whoever_may_and_every_move_is_on_record(house: House) -> None:
    made(house, "guarded", template="one")
    made(house, "guarded", template="two")
    developer, viewer = house.key("developer"), house.key("viewer")
    assert point(house, "guarded", "staging", key=developer, version=2).status == 200
    refused = point(house, "guarded", key=developer, version=2)
    assert (refused.status, refused.body["details"]["permission"]) == (403, "prompts:promote")
    assert point(house, "guarded", "staging", key=viewer, version=1).status == 403
    analyst = house.key("analyst")
    assert point(house, "guarded", key=analyst, version=1, reason="start").status == 200
    assert point(house, "guarded", key=analyst, version=2, reason="better").status == 200
    path = "/prompts/guarded/labels/production"
    assert house.ask("POST", f"{path}/rollback", {}, key=developer).status == 403
    back = house.ask("POST", f"{path}/rollback", {"reason": "worse"}, key=analyst)
    assert back.body["targets"] == [{"version": 1, "weight": 1}]
    history = house.ask("GET", path, key=viewer).body["history"]
    assert [(one["action"], one["reason"]) for one in history] == [
        ("rollback", "worse"),
        ("set", "better"),
        ("set", "start"),
    ]
    record = house.ask("GET", "/audit?action=prompt.label.rollback&limit=1").body["records"][0]
    assert record["resource"] == "prompt:guarded@production"
    assert record["detail"]["before"] == [{"version": 2, "weight": 1}]
    assert record["detail"]["reason"] == "worse"
    gone = house.ask("DELETE", f"{path}?reason=over", key=analyst)
    assert (gone.status, gone.body["targets"]) == (200, [])
    assert house.ask("POST", f"{path}/rollback", {"revision": 99}, key=analyst).status == 409


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    ("prompt", "status", "named"),
    [
        ({"id": "no.such"}, 404, "prompt.id"),
        ({"id": "doors", "version": 99}, 404, "prompt.id"),
        ({"id": "doors", "label": "nowhere"}, 404, "prompt.id"),
        ({"id": "doors", "version": 1, "label": "x"}, 400, "prompt.version"),
        ({"id": "doors", "version": "new"}, 400, "prompt.version"),
        ({"id": "doors"}, 400, "prompt.variables.facts"),
        ({"id": "doors", "variables": {"facts": 7}}, 400, "prompt.variables.facts"),
        ({"id": "doors", "variables": {"facts": "hunter2 " * 9}}, 400, "prompt.variables.facts"),
        ({"id": "doors", "variables": {"facts": "x", "hint": "hunter2"}}, 400, "prompt.variables.hint"),
        ({"id": "doors", "variables": {"facts": "x", "tone": "rude"}}, 400, "prompt.variables.tone"),
        ({"id": "doors", "variables": "facts"}, 400, "prompt.variables"),
        ({"id": "doors", "template": "x"}, 400, "prompt.template"),
        ({"id": 7}, 400, "prompt.id"),
        ("doors", 400, "prompt"),
    ],
)
def test_a_wrong_prompt_is_refused_in_the_words_of_the_door(
    house: House, path: str, prompt: Any, status: int, named: str
) -> None:
    if house.ask("GET", "/prompts/doors").status == 404:
        made(house, "doors")
    house.upstream.play(answer({"error": {"message": "nobody should ask"}}, 400))
    found = house.ask("POST", path, {**DOORS[path], "prompt": prompt})
    assert found.status == status, found.body
    assert house.upstream.sent == []
    error = found.body["error"]
    if path == "/v1/messages":
        assert found.body["type"] == "error"
        assert status == 404 or named.rpartition(".")[2] in error["message"]
    else:
        assert error["param"] == named
    assert b"hunter2" not in found.raw


def test_bombs_and_escapes_are_refused_at_every_door(house: House) -> None:
    made(house, "bomb", template="{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}")
    made(house, "wide", template="{{ a }}{{ a }}", variables={"a": "string"})
    made(house, "escape", template="{{ ''.__class__.__mro__ }}")
    for path, body in DOORS.items():
        for name, variables in (("bomb", {}), ("wide", {"a": "x" * 600_000}), ("escape", {})):
            found = house.ask("POST", path, {**body, "prompt": {"id": name, "variables": variables}})
            assert found.status == 400, (path, name, found.body)
    data = {"template": "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}"}
    found = house.ask("POST", "/execute/llm", {"model_config": {"name": "gpt-4"}, "input_data": data})
    assert (found.status, found.body["param"]) == (422, "input_data.template")


def test_chat_completions_reads_the_prompt_first_and_then_the_caller(house: House) -> None:
    fields = {"parameters": {"temperature": 0.1, "max_tokens": 50, "stop": "END", "seed": 4}, "response_format": FORM}
    made(house, "chatty", defaults={"model": "gpt-4", **fields})
    house.upstream.play(answer(openai_answer()))
    prompt = {"id": "chatty", "variables": {"facts": "VaR"}}
    found = house.ask("POST", "/v1/chat/completions", {"prompt": prompt, "temperature": 0.9, "logprobs": True})
    assert (found.status, found.headers["x-gateway-prompt"]) == (200, "chatty@1")
    sent = house.upstream.sent[0].body
    assert sent.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum up VaR."},
    ]
    assert sent == {
        "model": "gpt-4",
        "temperature": 0.9,
        "max_tokens": 50,
        "stop": "END",
        "seed": 4,
        "response_format": FORM,
        "logprobs": True,
    }
    own = {"model": "t-mistral", "messages": USER, "max_completion_tokens": 7, "response_format": {"type": "text"}}
    assert house.ask("POST", "/v1/chat/completions", {"prompt": prompt, **own}).status == 200
    sent = house.upstream.sent[-1].body
    assert [turn["content"] for turn in sent["messages"]] == ["Be brief.", "Sum up VaR.", "And?"]
    assert (sent["max_tokens"], sent["response_format"]) == (7, {"type": "text"})
    note = noted(house, found.headers["x-request-id"])
    assert (note["id"], note["version"]) == ("chatty", 1)


def test_the_prompt_of_one_dialect_reaches_the_provider_of_another(house: House) -> None:
    made(house, "crossed", defaults={"parameters": {"max_tokens": 50, "seed": 4}})
    prompt = {"id": "crossed", "variables": {"facts": "VaR"}}
    house.upstream.play(answer(anthropic_answer()))
    body = {"model": "claude-3-haiku", "prompt": prompt, "messages": USER}
    found = house.ask("POST", "/v1/chat/completions", body)
    assert found.headers["x-gateway-dropped-params"] == "seed"
    sent = house.upstream.sent[0].body
    assert (sent["system"], sent["max_tokens"]) == ("Be brief.", 50)
    assert [block["text"] for block in sent["messages"][0]["content"]] == ["Sum up VaR.", "And?"]
    found = house.ask("POST", "/v1/messages", body)
    assert (found.status, found.headers["x-gateway-dropped-params"]) == (200, "seed"), "no wish is lost in silence"
    house.upstream.play(answer(openai_answer()))
    assert house.ask("POST", "/v1/messages", {**body, "model": "gpt-4"}).status == 200
    assert house.upstream.sent[0].body["seed"] == 4


def test_messages_reads_the_prompt_before_the_callers_system_and_turns(house: House) -> None:
    fields = {"parameters": {"temperature": 0.1, "max_tokens": 50, "stop": ["END"]}, "response_format": FORM}
    made(house, "anthropic", defaults={"model": "claude-3-haiku", **fields})
    prompt = {"id": "anthropic", "variables": {"facts": "VaR", "tone": "kind"}}
    house.upstream.play(answer(anthropic_answer()))
    system = [{"type": "text", "text": "Know this.", "cache_control": {"type": "ephemeral"}}]
    found = house.ask("POST", "/v1/messages", {"prompt": prompt, "system": system, "messages": USER, "top_k": 5})
    assert (found.status, found.headers["x-gateway-prompt"]) == (200, "anthropic@1"), found.body
    sent = house.upstream.sent[0].body
    assert sent.pop("messages") == [{"role": "user", "content": "Sum up VaR."}, *USER]
    assert sent == {
        "model": "claude-3-haiku-20240307",
        "system": [{"type": "text", "text": "Be kind."}, *system],
        "temperature": 0.1,
        "max_tokens": 50,
        "stop_sequences": ["END"],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "top_k": 5,
    }
    assert house.ask("POST", "/v1/messages", {"prompt": prompt, "system": "And that.", "max_tokens": 8}).status == 200
    assert (house.upstream.sent[1].body["system"], house.upstream.sent[1].body["max_tokens"]) == (
        "Be kind.\n\nAnd that.",
        8,
    )
    house.upstream.play(answer({"input_tokens": 31}))
    counted = house.ask("POST", "/v1/messages/count_tokens", {"prompt": prompt})
    assert (counted.status, counted.body) == (200, {"input_tokens": 31})
    assert house.upstream.sent[0].body["system"] == "Be kind."


def test_responses_reads_the_prompt_as_openai_writes_it(house: House) -> None:
    made(house, "responses", defaults={"parameters": {"max_tokens": 50}, "response_format": FORM})
    prompt = {"id": "responses", "version": "1", "variables": {"facts": {"type": "input_text", "text": "VaR"}}}
    house.upstream.play(answer(openai_answer("{}")))
    body = {"model": "gpt-4", "prompt": prompt, "instructions": "In French.", "input": "And?"}
    found = house.ask("POST", "/v1/responses", body)
    assert (found.status, found.headers["x-gateway-prompt"]) == (200, "responses@1"), found.body
    assert found.body["prompt"] == {"id": "responses", "version": "1"}
    assert found.body["instructions"] == "Be brief.\n\nIn French."
    sent = house.upstream.sent[0].body
    assert [turn["content"] for turn in sent["messages"]] == ["Be brief.\n\nIn French.", "Sum up VaR.", "And?"]
    assert (sent["max_tokens"], sent["response_format"]["json_schema"]["schema"]) == (50, SCHEMA)
    assert house.ask("POST", "/v1/responses", {"model": "gpt-4", "prompt": prompt}).status == 200


@pytest.mark.parametrize("path", DOORS)
def test_a_stream_says_which_prompt_it_answers(house: House, path: str) -> None:
    name = "stream." + path.rpartition("/")[2]
    made(house, name)
    anthropic = path == "/v1/messages"
    play = events(*anthropic_events("Hi"), named=True) if anthropic else events(*openai_chunks("Hi"))
    house.upstream.play(play)
    body = {**DOORS[path], "stream": True, "prompt": {"id": name, "variables": {"facts": "VaR"}}}
    found = house.ask("POST", path, body)
    assert (found.status, found.headers["x-gateway-prompt"]) == (200, f"{name}@1")
    assert b"Hi" in found.raw
    assert noted(house, found.headers["x-request-id"])["id"] == name
