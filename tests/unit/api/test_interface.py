"""``/openapi.json`` is whole and true: what it says of a door is what the door does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from fixtures.house import House
from gateway.api.doors import PUBLIC

_REFUSED = (400, 422)
#: Served only in Anthropic's dialect.
_ANTHROPIC = {"anthropic-version": "2023-06-01"}
_OWN_DIALECTS = ("/v1/", "/v2")


@pytest.fixture
def described(house: House) -> dict[str, Any]:
    return dict(house.interface.document)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of everything that is answered by HTTP."""
    for path, place in document["paths"].items():
        for method, operation in place.items():
            if method != "parameters" and path != "/ws":
                yield method.upper(), path, operation


def fill(path: str) -> str:
    return re.sub(r"\{\w+\}", "nothing", re.sub(r"^/models/\{name\}", "/models/gpt-4", path))


def queries(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in operation.get("parameters", ()) if item.get("in") == "query"]


def body_of(operation: dict[str, Any], kind: str = "application/json") -> dict[str, Any] | None:
    found: dict[str, Any] | None = operation.get("requestBody", {}).get("content", {}).get(kind, {}).get("schema")
    return found


def test_it_is_valid(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []
    assert described["servers"]
    assert described["info"]["description"]
    assert described["info"]["license"]


def test_every_door_is_described(house: House, described: dict[str, Any]) -> None:
    told = {(method, path): operation for method, path, operation in operations(described)}
    doors = {key for key in house.permissions if not key[1].startswith("/dashboard")}
    assert doors <= set(told)
    assert {path for _, path in set(told) - doors} == {
        "/v1/chat/completions", "/v1/completions",
        "/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings",
        "/v1/models", "/v1/models/{name}",
    }  # fmt: skip
    tags = {tag["name"] for tag in described["tags"]}
    for key, operation in told.items():
        assert operation["summary"], key
        assert len(operation["tags"]) == 1, key
        assert set(operation["tags"]) <= tags, key
    names = [operation["operationId"] for operation in told.values()]
    assert len(set(names)) == len(names)
    assert tags == {tag for operation in told.values() for tag in operation["tags"]} | {"Events"}


def test_parts_of_paths_are_declared(described: dict[str, Any]) -> None:
    for path, place in described["paths"].items():
        declared = [item["name"] for item in place.get("parameters", ()) if item["in"] == "path" and item["required"]]
        assert declared == re.findall(r"\{(\w+)\}", path), path


def test_who_may_is_declared(house: House, described: dict[str, Any]) -> None:
    schemes = described["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert (schemes["key"]["in"], schemes["key"]["name"]) == ("header", "x-api-key")
    assert [set(item) for item in described["security"]] == [{"bearer"}, {"key"}]
    for method, path, operation in operations(described):
        public = house.permissions.get((method, path)) == PUBLIC
        assert operation.get("security") == ([] if public else None), path
        assert public or {"401", "403"} <= set(operation["responses"]), path


def test_every_answer_has_a_form(house: House, described: dict[str, Any]) -> None:
    for method, path, operation in operations(described):
        answers = operation["responses"]
        good = [answer for status, answer in answers.items() if status[0] == "2"]
        assert good, (method, path)
        for answer in good:
            assert answer["description"]
            for media in answer.get("content", {}).values():
                assert media["schema"], (method, path)
        assert any(answer.get("content") for answer in good) == ("204" not in answers), (method, path)
        for status in set(answers) - {"200", "201", "202", "204"}:
            (kind,) = house.interface.resolved(answers[status])["content"]
            assert (kind == "application/problem+json") == (not path.startswith(_OWN_DIALECTS)) or status == "503", path
        if "{" in path:
            assert "404" in answers, path
        if body_of(operation) is not None:
            assert {"400", "413", "415"} <= set(answers), path
        idempotent = {"$ref": "#/components/parameters/Idempotency-Key"} in operation.get("parameters", ())
        assert {"409", "422"} <= set(answers) or not idempotent, path


def test_nothing_is_said_for_nobody(house: House, described: dict[str, Any]) -> None:
    """Every reference leads somewhere, every component is referred to (events stand in streams)."""
    text = str(described)
    for kind, named in described["components"].items():
        if kind == "securitySchemes":
            continue
        used = set(re.findall(rf"#/components/{kind}/([\w-]+)", text))
        assert used - set(named) == set(), kind
        assert set(named) - used <= {"Event"}, kind


def test_no_secret_is_told_of_a_key_but_once(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert "key" not in schemas["Key"]["properties"]
    assert "key" in schemas["MadeKey"]["properties"]
    told = [path for _, path, operation in operations(described) if "MadeKey" in str(operation["responses"])]
    assert told == ["/keys"]


def test_a_body_has_the_fields_that_are_read(house: House, described: dict[str, Any]) -> None:
    compared = 0
    for method, path, operation in operations(described):
        schema = body_of(operation)
        if schema is None:
            continue
        schema = house.interface.resolved(schema)
        assert schema["type"] == "object", path
        assert schema["additionalProperties"] is False, path
        found = house.ask(method, fill(path), {"zzz": 1})
        if found.status == 404:
            continue
        assert found.status in _REFUSED, (path, found.body)
        said = re.search(r"fields(?: here)? are: ([\w, ]+)", str(found.body))
        if said:
            assert set(said[1].split(", ")) == set(schema["properties"]), path
            compared += 1
        else:
            assert "zzz" in str(found.body), (path, found.body)
            for name in schema["properties"]:
                refusal = house.ask(method, fill(path), {name: 1}).body
                assert not re.search(rf"{name}[^ ]* no such|no field '{name}'", str(refusal)), (path, refusal)
    assert compared > 20


def test_a_body_needs_what_is_needed(house: House, described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for method, path, operation in operations(described):
        schema = body_of(operation)
        if schema is None:
            continue
        found = house.ask(method, fill(path), {})
        good = house.interface.validator(f"{method} {path} body", schema, schemas).is_valid({})
        if found.status != 404:
            assert (found.status in _REFUSED) == (not good), (path, found.body)


def test_a_parameter_is_read_and_held_to_what_is_said(house: House, described: dict[str, Any]) -> None:
    tried = 0
    for method, path, operation in operations(described):
        headers = _ANTHROPIC if path == "/v1/models" else {}
        needed = {item["name"]: _good(item["schema"]) for item in queries(operation) if item.get("required")}
        for item in queries(operation):
            asked = {**needed, item["name"]: _bad(item["schema"])}
            query = "&".join(f"{name}={value}" for name, value in asked.items())
            given: dict[str, Any] | None = {} if method == "POST" and "body" in str(operation) else None
            if path in ("/v1/models", "/invoices/reconcile") and "maximum" not in item["schema"]:
                continue  # a name that is none is a 404 there; the body comes first here
            found = house.ask(method, f"{fill(path)}?{query}", given, headers=headers)
            if found.status == 404 and "{" in path:
                continue
            assert found.status in _REFUSED, (path, query, found.body)
            assert item["name"] in str(found.body), (path, query, found.body)
            tried += 1
    assert tried > 90


def test_a_parameter_that_is_not_described_is_not_heeded(house: House, described: dict[str, Any]) -> None:
    refusing = set()
    for method, path, operation in operations(described):
        if method != "GET" or "{" in path:
            continue
        found = house.ask(method, f"{path}?zzz=1")
        if found.status in _REFUSED and "no parameter of this path" in str(found.body):
            refusing.add(path)
            said = re.search(r"there are ([\w, ]+)", found.body["mend"])
            declared = [item["name"] for item in queries(operation)]
            assert sorted(said[1].split(", ") if said else []) == sorted(declared), path
    assert refusing == {
        "/usage", "/usage/summary", "/usage/forecast", "/usage/entries", "/savings", "/savings/ratings", "/invoices",
        "/prices", "/prices/check", "/budgets",
    }  # fmt: skip


def _bad(schema: dict[str, Any]) -> str:
    """What the schema does not allow: of a text, one with a NUL in it."""
    if schema["type"] == "integer":
        return str(schema["maximum"] + 1) if "maximum" in schema else "x"
    return "zzz" if "enum" in schema else "%00"


def _good(schema: dict[str, Any]) -> str:
    return str(schema["enum"][0]) if "enum" in schema else "2026-01"
