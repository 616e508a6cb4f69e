"""What holds for every door: nobody without a key, nobody beyond their role, no body that breaks it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fixtures.house import ROOT_KEY, House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.api.doors import PUBLIC, Doors
from gateway.security.access import PERMISSIONS, ROLES

_HOT = ("chat/completions", "completions", "responses", "messages", "messages/count_tokens", "embeddings")
HOT = {**{("POST", f"/v1/{door}"): "llm:execute" for door in _HOT}, ("GET", "/v1/models"): "models:read"}
SECRET = "sk-proj-THISISASECRETTHATMUSTNOTCOMEBACK"
NASTY: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"7",
    "NaN": b'{"a": NaN}',
    "infinite": b'{"a": 1e999}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "NUL": b'{"a": "\\u0000"}',
    "raw NUL": b'{"a": "\x00"}',
    "long integer": b'{"a": ' + b"9" * 5000 + b"}",
    "deep": b'{"a": ' * 150 + b"1" + b"}" * 150,
    "very deep": b"[" * 200_000,
    "twice": b'{"a": 1, "a": 2}',
    "no UTF-8": b'{"a": "\xff"}',
    "unknown field": b'{"zzz": 1}',
    "secret": json.dumps({"api_key": SECRET, "model": SECRET}).encode(),
    "wrong types": json.dumps(
        dict.fromkeys(["model", "messages", "input_data", "task_type", "name", "url", "steps", "limit_usd", "input"], 7)
    ).encode(),
    "nulls": json.dumps(
        dict.fromkeys(["model", "messages", "input_data", "task_type", "name", "url", "steps", "limit_usd", "template"])
    ).encode(),
}


def fill(path: str) -> str:
    return re.sub(r"\{\w+\}", "nothing", path)


def doors(house: House) -> list[tuple[str, str, str]]:
    found = {**house.permissions, **HOT}
    return [(method, fill(path), permission) for (method, path), permission in found.items()]


def says_why(house: House, path: str, body: Any) -> bool:
    """The error is in the door's own format, with a reason."""
    if path.startswith("/v1/messages"):
        return body["type"] == "error" and bool(body["error"]["message"])
    if path.startswith("/v1/"):
        return bool(body["error"]["message"]) and "code" in body["error"]
    if path.startswith("/v2/"):
        return bool(body["error"]) and "code" in body
    return bool(body["detail"] and body["code"] and body["request_id"]) and body["status"] >= 400


def test_no_door_opens_without_a_key(house: House) -> None:
    for method, path, permission in doors(house):
        found = house.ask(method, path, {} if method in ("POST", "PUT") else None, key=None)
        if permission == PUBLIC:
            assert found.status < 400 or path.startswith("/dashboard"), (method, path)
            continue
        assert found.status == 401, (method, path, found.status)
        assert says_why(house, path, found.body), (method, path, found.body)
        assert found.headers["www-authenticate"].startswith("Bearer")


def test_no_door_opens_to_a_role_without_its_permission(house: House) -> None:
    keys = {role: house.key(role) for role in ROLES if role != "admin"}
    for method, path, permission in doors(house):
        if permission == PUBLIC:
            continue
        for role, key in keys.items():
            found = house.ask(method, path, {} if method in ("POST", "PUT") else None, key=key)
            if permission in ROLES[role]:
                assert found.status not in (401, 403, 500), (method, path, role, found.body)
            else:
                assert found.status == 403, (method, path, role, found.status)
                assert permission in json.dumps(found.body)


@pytest.mark.parametrize("name", NASTY)
def test_no_body_breaks_a_door(house: House, name: str) -> None:
    for method, path, _ in doors(house):
        if method not in ("POST", "PUT"):
            continue
        found = house.ask(method, path, NASTY[name])
        assert 400 <= found.status < 500 or found.status in (200, 201, 202, 501), (
            method,
            path,
            found.status,
            found.body,
        )
        if found.status >= 400:
            assert says_why(house, path, found.body), (path, found.body)
        assert SECRET.encode() not in found.raw, (method, path)


def test_a_body_of_fifty_megabytes_is_refused(house: House) -> None:
    for path in ("/tasks", "/v1/chat/completions", "/v1/messages", "/execute/ml"):
        try:
            found = house.ask("POST", path, b'{"a": "' + b"x" * 50_000_000 + b'"}')
        except (ConnectionError, OSError):
            continue  # the door was shut while the body still came
        assert found.status == 413, path


def test_a_body_of_another_type_is_refused(house: House) -> None:
    for path in ("/tasks", "/v1/chat/completions"):
        found = house.ask("POST", path, b"a=1", headers={"content-type": "application/x-www-form-urlencoded"})
        assert found.status == 415, path
        assert says_why(house, path, found.body)


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/messages/nothing", "/tasks/a/b/c", "/%00", "/../etc"])
def test_a_path_that_is_none(house: House, path: str) -> None:
    found = house.ask("GET", path)
    assert found.status == 404
    assert says_why(house, path, found.body)


def test_a_method_that_is_none(house: House) -> None:
    methods = {"/tasks": "GET, POST", "/tasks/x": "DELETE, GET", "/v1/chat/completions": "POST", "/v1/messages": "POST"}
    for path, allowed in methods.items():
        found = house.ask("PATCH", path, {})
        assert (found.status, found.headers["allow"]) == (405, allowed), path
        again = house.ask("PATCH", path, {}, headers={"idempotency-key": "a-method-that-is-none"})
        assert again.status == 405, path
        assert says_why(house, path, found.body)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=1000000",
        "limit=x",
        "limit=%00",
        "limit=9%F0%9F%98%80",
        "status=zzz",
        "cursor=%27--",
    ],
)
@pytest.mark.parametrize("path", ["/tasks", "/runs", "/usage/entries", "/keys", "/audit", "/webhooks/deliveries"])
def test_no_query_breaks_a_list(house: House, path: str, query: str) -> None:
    found = house.ask("GET", f"{path}?{query}")
    assert found.status in (200, 400, 404, 422), found.body


def test_the_first_page_lists_every_door(house: House) -> None:
    listed = house.ask("GET", "/").body["endpoints"]
    served = {path for _, path in {**house.permissions, **HOT} if "{" not in path and not path.startswith("/dashboard")}
    assert {
        path for path in served - {"/"} if not any(path == it or path.startswith(f"{it}/") for it in listed)
    } == set()
    for path in listed:
        if path != "/ws":
            assert house.ask("PATCH", path, {}).status == 405, path


def test_a_route_without_a_permission_cannot_be_registered(house: House) -> None:
    registered = Doors(None, house.services)  # type: ignore[arg-type]  # refused before the app is touched
    with pytest.raises(ValueError, match="no such permission"):
        registered.add("GET", "/secret", "everything", None, summary="")  # type: ignore[arg-type]
    assert set(house.permissions.values()) <= {*PERMISSIONS, PUBLIC}


def test_the_description_of_the_interface_names_each_permission(house: House) -> None:
    described = house.ask("GET", "/openapi.json", key=None).body
    told = {
        (method.upper(), path): operation["x-permission"]
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    }
    doors = {key: permission for key, permission in {**house.permissions, **HOT}.items() if "/dashboard" not in key[1]}
    assert doors == {key: told.get(key) for key in doors}


def test_a_request_keeps_its_id_and_an_evil_one_does_not(house: House) -> None:
    assert house.ask("GET", "/me", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    evil = house.ask("GET", "/me", headers={"x-request-id": "a b<script>"})
    assert evil.headers["x-request-id"].startswith("req_")


def test_changes_and_refusals_are_on_record(house: House) -> None:
    viewer = house.key("viewer")
    refused = house.ask("POST", "/keys", {"name": "x", "role": "admin"}, key=viewer)
    house.upstream.play(answer(openai_answer()))
    body = {"model_config": {"name": "gpt-4"}, "input_data": {"prompt": "hello"}}
    called = house.ask("POST", "/execute/llm", body)
    assert called.status == 200, called.body
    records = house.ask("GET", "/audit?limit=200").body["records"]
    by_request = {(record["request_id"], record["action"], record["outcome"]) for record in records}
    assert (refused.headers["x-request-id"], "keys:write", "denied") in by_request
    assert (called.headers["x-request-id"], "llm.call", "completed") in by_request
    assert house.ask("GET", "/audit/verify").body["ok"] is True
    assert ROOT_KEY not in json.dumps(records)


def test_metrics_need_a_key_outside_development(tmp_path: Path) -> None:
    with running_house(tmp_path, dev=False) as strict:
        assert strict.ask("GET", "/metrics", key=None).status == 401
        assert strict.ask("GET", "/metrics").status == 200


def test_metrics_speak_prometheus(house: House) -> None:
    page = house.ask("GET", "/metrics")
    assert page.status == 200
    for name in ("gateway_requests_total", "gateway_request_seconds_bucket", "gateway_tasks", "gateway_queue_depth"):
        assert name.encode() in page.raw
