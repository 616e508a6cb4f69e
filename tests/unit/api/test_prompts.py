"""Stored prompts at every door: versions, labels and rights over REST, and what reaches the provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fixtures.house import ROOT_KEY, Answer, House
from fixtures.upstream import answer, anthropic_answer, anthropic_events, events, openai_answer, openai_chunks

CHAT = [{"role": "system", "content": "Be {{ tone }}."}, {"role": "user", "content": "Sum up {{ facts }}."}]
VARIABLES = {
    "facts": {"type": "string", "max_length": 40},
    "tone": {"type": "string", "enum": ["brief", "kind"], "default": "brief"},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
USER = [{"role": "user", "content": "And?"}]
#: A body of each door that is whole but for its prompt.
DOORS: Mapping[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "gpt-4", "messages": USER},
    "/v1/responses": {"model": "gpt-4", "input": "And?"},
    "/v1/messages": {"model": "claude-3-haiku", "max_tokens": 9, "messages": USER},
}


def made(house: House, name: str, **fields: Any) -> dict[str, Any]:
    body = {"name": name, **({} if "template" in fields else {"messages": CHAT, "variables": VARIABLES}), **fields}
    found = house.ask("POST", "/prompts", body)
    assert found.status == 201, found.body
    result: dict[str, Any] = found.body
    return result


def point(house: House, name: str, label: str = "production", *, key: str = ROOT_KEY, **body: Any) -> Answer:
    return house.ask("PUT", f"/prompts/{name}/labels/{label}", body, key=key)


def noted(house: House, request_id: str) -> Any:
    """What the record of the call says of its prompt."""
    records = house.ask("GET", f"/audit?action=llm.call&request_id={request_id}").body["records"]
    return records[0]["detail"].get("prompt")


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
        ({"id": "doors", "version": 1, "label": "x"}, 422, "prompt.version"),
        ({"id": "doors", "version": "new"}, 422, "prompt.version"),
        ({"id": "doors"}, 422, "prompt.variables.facts"),
        ({"id": "doors", "variables": {"facts": 7}}, 422, "prompt.variables.facts"),
        ({"id": "doors", "variables": {"facts": "hunter2 " * 9}}, 422, "prompt.variables.facts"),
        ({"id": "doors", "variables": {"facts": "x", "hint": "hunter2"}}, 422, "prompt.variables.hint"),
        ({"id": "doors", "variables": {"facts": "x", "tone": "rude"}}, 422, "prompt.variables.tone"),
        ({"id": "doors", "variables": "facts"}, 422, "prompt.variables"),
        ({"id": "doors", "template": "x"}, 422, "prompt.template"),
        ({"id": 7}, 422, "prompt.id"),
        ("doors", 422, "prompt"),
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
            assert found.status == 422, (path, name, found.body)
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


def test_a_split_keeps_a_conversation_on_its_version_and_counts_results(house: House) -> None:
    made(house, "ab", template="one {{ x }}")
    made(house, "ab", template="two {{ x }}")
    split = [{"version": 1, "weight": 1}, {"version": 2, "weight": 1}]
    assert point(house, "ab", split=split).status == 200
    house.upstream.play(answer(openai_answer()))
    prompt = {"id": "ab", "variables": {"x": 1}}

    def asked(headers: dict[str, str], **fields: Any) -> str:
        body = {"model": "gpt-4", "prompt": prompt, **fields}
        return house.ask("POST", "/v1/chat/completions", body, headers=headers).headers["x-gateway-prompt"]

    by_session = {f"s{number}": asked({"x-gateway-session": f"s{number}"}) for number in range(12)}
    assert set(by_session.values()) == {"ab@1", "ab@2"}
    data = {"template": "ab", "variables": {"x": 1}}
    execute = {"model_config": {"name": "gpt-4"}, "input_data": data}
    for session, version in by_session.items():
        assert asked({"x-gateway-session": session}) == version
        found = house.ask("POST", "/execute/llm", execute, headers={"x-gateway-session": session})
        assert found.headers["x-gateway-prompt"] == version
        assert found.body["prompt"] == {"id": "ab", "version": int(version[-1])}
    assert asked({}, user="s3") == by_session["s3"]
    assert asked({"x-request-id": "s4"}) == by_session["s4"]
    note = noted(house, "s4")
    assert note["split"] == {"weights": {"1": 1, "2": 1}, "by": "request"}
    assert note["label"] == "production"
    house.upstream.play(answer({"error": {"message": "no"}}, 400))
    refused = house.ask("POST", "/v1/chat/completions", {"model": "gpt-4", "prompt": {**prompt, "version": 2}})
    assert refused.status == 400
    rows = house.ask("GET", "/prompts/ab/results?days=2").body["results"]
    figures = {(row["version"], row["label"]): row for row in rows}
    assert sum(row["calls"] for row in rows) == 12 + 24 + 2 + 1
    assert (figures[2, None]["calls"], figures[2, None]["failures"]) == (1, 1)
    first = figures[1, "production"]
    assert first["cost"] == pytest.approx(first["calls"] * first["cost_per_call"])
    assert first["latency_seconds"]["p50"] > 0
    assert first["feedback"] == {"count": 0, "mean": None}
    assert house.ask("GET", "/prompts/ab/results?days=9999").body["param"] == "days"


def test_a_model_that_the_key_may_not_use_stays_closed(house: House) -> None:
    made(house, "wish", template="x", defaults={"model": "gpt-4"})
    key = house.key("developer", models=("claude-*",))
    found = house.ask("POST", "/v1/chat/completions", {"prompt": {"id": "wish"}}, key=key)
    assert (found.status, found.body["error"]["code"]) == (404, "model_not_found")
    found = house.ask("POST", "/execute/llm", {"input_data": {"template": "wish"}}, key=key)
    assert (found.status, found.body["code"]) == (404, "model_not_found")


def test_execute_and_tasks_take_a_stored_prompt(house: House) -> None:
    made(house, "work", defaults={"model": "gpt-4", "parameters": {"temperature": 0.1}})
    point(house, "work", "staging", version=1)
    house.upstream.play(answer(openai_answer("Fine.")))
    data = {"template": "work", "label": "staging", "variables": {"facts": "VaR"}, "messages": USER}
    found = house.ask("POST", "/execute/llm", {"input_data": data})
    assert (found.status, found.body["response"], found.headers["x-gateway-prompt"]) == (200, "Fine.", "work@1")
    sent = house.upstream.sent[0].body
    assert [turn["content"] for turn in sent["messages"]] == ["Be brief.", "Sum up VaR.", "And?"]
    assert (sent["model"], sent["temperature"]) == ("gpt-4", 0.1)
    body = {"task_type": "llm_analysis", "input_data": {"template": "work@1", "variables": {"facts": "VaR"}}}
    task = house.ended(f"/tasks/{house.ask('POST', '/tasks', body).body['task_id']}")
    assert (task["status"], task["result"]["prompt"]) == ("completed", {"id": "work", "version": 1})
    body["input_data"] = {"template": "work@nowhere", "variables": {"facts": "VaR"}}
    failed = house.ended(f"/tasks/{house.ask('POST', '/tasks', body).body['task_id']}")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "not_found")


def test_every_step_of_a_run_asks_one_version(house: House) -> None:
    for text in ("one", "two"):
        made(house, "steps", template=text)
    point(house, "steps", split=[{"version": 1, "weight": 1}, {"version": 2, "weight": 1}])
    mapping = {"template": {"value": "steps"}}
    steps = [
        {"step_id": f"s{at}", "task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_mapping": mapping}
        for at in range(3)
    ]
    assert house.ask("POST", "/workflows", {"workflow_id": "prompted", "steps": steps}).status == 201
    house.upstream.play(answer(openai_answer()))
    for _ in range(4):
        run = house.ask("POST", "/workflows/prompted/runs", {"input": {}}).body
        house.ended(f"/runs/{run['run_id']}")
        found = house.ask("GET", f"/runs/{run['run_id']}").body
        tasks = [house.ask("GET", f"/tasks/{step['task_id']}").body for step in found["steps"]]
        versions = {task["result"]["prompt"]["version"] for task in tasks}
        assert len(versions) == 1
