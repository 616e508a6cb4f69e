"""Rate limits of keys, users, teams and models at the doors: declared, held together, and told as SDKs read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from fixtures.house import ROOT_KEY, Answer, House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.cli.main import main

SECRET = "a secret of tokens that has more than 32 characters"
BUSY = """
  t-busy:
    type: llm
    provider: openai
    upstream_model: busy
    price: none
    limits: {requests_per_minute: 2}
"""
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
DOORS: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": lambda model: {"model": model, **HELLO},
    "/v1/messages": lambda model: {"model": model, **HELLO},
    "/v1/responses": lambda model: {"model": model, "input": "Hello", "store": False},
    "/execute/llm": lambda model: {"input_data": {"prompt": "Hello"}, "model_config": {"name": model}},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("limited")
    with running_house(folder, GATEWAY_JWT_SECRET=SECRET) as running:
        models = folder / "config" / "models.yaml"
        head, defaults, rest = models.read_text().partition("# The model of a task type that names none.")
        models.write_text(head + BUSY + defaults + rest)
        assert running.core.catalogue.refresh(), running.core.catalogue.last_error
        yield running


def ask(house: House, key: str, model: str = "gpt-4", path: str = "/v1/chat/completions") -> Answer:
    house.upstream.play(answer(openai_answer()))
    return house.ask("POST", path, DOORS[path](model), key=key)


def limit(house: House, scope: str, subject: str, **limits: Any) -> None:
    found = house.ask("PUT", "/limits", {"scope": scope, "subject": subject, **limits})
    assert found.status == 200, found.body


def details(found: Answer) -> dict[str, Any]:
    body = found.body.get("error", found.body)
    return dict(body["details"])


@pytest.mark.parametrize("scope", ["user", "team"])
def test_all_keys_of_a_user_or_a_team_share_its_limit(house: House, scope: str) -> None:
    field = {"user": "principal", "team": "team"}[scope]
    keys = [house.key("developer", **{field: f"shared-{scope}"}) for _ in range(2)]
    stranger = house.key("developer", **{field: f"other-{scope}"})
    limit(house, scope, f"shared-{scope}", requests_per_minute=3)
    told = [ask(house, keys[number % 2]) for number in range(4)]
    assert [found.status for found in told] == [200, 200, 200, 429]
    assert [found.headers["x-ratelimit-remaining-requests"] for found in told] == ["2", "1", "0", "0"]
    assert f"the limit of the {scope} 'shared-{scope}' of 3 requests a minute" in told[3].body["error"]["message"]
    assert ask(house, stranger).status == 200
    limit(house, scope, f"shared-{scope}", requests_per_minute=4)
    assert ask(house, keys[0]).status == 200, "a change holds at once"
    ended = house.ask("DELETE", f"/limits?scope={scope}&subject=shared-{scope}")
    assert (ended.status, ended.body["requests_per_minute"]) == (200, 4)
    assert "x-ratelimit-limit-requests" not in ask(house, keys[1]).headers


def test_tokens_of_a_team(house: House) -> None:
    limit(house, "team", "wordy", tokens_per_minute=60)
    keys = [house.key("developer", team="wordy") for _ in range(2)]
    first = ask(house, keys[0])
    assert first.headers["x-ratelimit-limit-tokens"] == "60"
    house.until(lambda: ask(house, keys[0]).status, lambda status: status == 429)
    refused = details(ask(house, keys[1]))
    assert (refused["scope"], refused["subject"], refused["window"]) == ("team", "wordy", "tokens_per_minute")


def test_a_model_has_a_limit_for_all_callers_together(house: House) -> None:
    keys = [house.key("developer") for _ in range(3)]
    told = [ask(house, key, "t-busy") for key in keys]
    assert [found.status for found in told] == [200, 200, 429]
    assert details(told[2])["scope"] == "model"
    assert ask(house, keys[2]).status == 200, "other models are open"


def test_where_the_team_refuses_the_key_has_lost_nothing(house: House) -> None:
    limit(house, "team", "narrow", requests_per_minute=1)
    key = house.key("developer", team="narrow", requests_per_minute=9)
    assert [ask(house, key).status for _ in range(4)] == [200, 429, 429, 429]
    house.ask("DELETE", "/limits?scope=team&subject=narrow")
    assert ask(house, key).headers["x-ratelimit-remaining-requests"] == "7"


@pytest.mark.parametrize("path", DOORS)
def test_every_door_says_when_to_come_again(house: House, path: str) -> None:
    key = house.key("developer", requests_per_minute=1)
    assert ask(house, key, path=path).status == 200
    found = ask(house, key, path=path)
    assert (found.status, found.headers["x-should-retry"]) == (429, "true")
    assert 0 < int(found.headers["retry-after"]) <= 61
    assert 0 < int(found.headers["retry-after-ms"]) <= 61_000
    told = [found.headers[f"x-ratelimit-{word}-requests"] for word in ("limit", "remaining")]
    assert told == ["1", "0"]
    assert details(found)["scope"] == "key"


def test_anthropics_door_tells_limits_in_anthropics_words(house: House) -> None:
    key = house.key("developer", requests_per_minute=1, tokens_per_minute=5_000)
    for found in (ask(house, key, path="/v1/messages"), ask(house, key, path="/v1/messages")):
        assert found.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert found.headers["anthropic-ratelimit-requests-remaining"] == "0"
        reset = datetime.fromisoformat(found.headers["anthropic-ratelimit-requests-reset"])
        assert timedelta(0) < reset - datetime.now(UTC) <= timedelta(seconds=62)
    assert found.status == 429
    assert "anthropic-ratelimit-requests-limit" not in ask(house, house.key("developer"), path="/v1/messages").headers


def test_a_call_that_never_fits_is_not_to_be_tried_again(house: House) -> None:
    found = ask(house, house.key("developer", tokens_per_minute=10))
    assert (found.status, found.headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in found.headers


def test_limits_bind_tokens_of_an_issuer_too(house: House) -> None:
    limit(house, "team", "issued", requests_per_minute=1)
    claims = {"sub": "bob", "role": "developer", "team": "issued", "exp": datetime.now(UTC) + timedelta(minutes=5)}
    settings = house.core.settings
    token = jwt.encode({**claims, "aud": settings.jwt_audience, "iss": settings.jwt_issuer}, SECRET, "HS256")
    assert [ask(house, token).status for _ in range(2)] == [200, 429]
    limit(house, "team", "issued", requests_per_minute=9)
    assert ask(house, token).status == 200


def test_limits_are_listed_with_those_of_models(house: House) -> None:
    limit(house, "user", "listed", requests_per_minute=5, tokens_per_minute=None)
    rows = {(row["scope"], row["subject"]): row for row in house.ask("GET", "/limits").body["limits"]}
    assert rows["user", "listed"]["requests_per_minute"] == 5
    assert rows["user", "listed"]["set_by"] == "admin"
    assert rows["model", "t-busy"]["set_by"] == "config/models.yaml"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"scope": "key", "subject": "key_1", "requests_per_minute": 1}, "scope"),
        ({"scope": "user", "requests_per_minute": 1}, "subject"),
        ({"scope": "user", "subject": "a b", "requests_per_minute": 1}, "subject"),
        ({"scope": "user", "subject": "a"}, "requests_per_minute"),
        ({"scope": "user", "subject": "a", "requests_per_minute": 0}, "requests_per_minute"),
        ({"scope": "user", "subject": "a", "tokens_per_minute": True}, "tokens_per_minute"),
        ({"scope": "user", "subject": "a", "rpm": 1}, "rpm"),
    ],
)
def test_what_is_wrong_with_limits_is_named(house: House, body: dict[str, Any], param: str) -> None:
    found = house.ask("PUT", "/limits", body)
    assert (found.status, found.body["param"]) == (422, param)


def test_nobody_widens_the_limits_that_bind_them(house: House) -> None:
    operator = house.key("operator", team="ops", principal="olga")
    for scope, subject in (("team", "ops"), ("user", "olga")):
        body = {"scope": scope, "subject": subject, "requests_per_minute": 1}
        assert house.ask("PUT", "/limits", body, key=operator).status == 403
        limit(house, scope, subject, requests_per_minute=1)
        gone = house.ask("DELETE", f"/limits?scope={scope}&subject={subject}", key=operator)
        assert gone.status == 403
    other = {"scope": "team", "subject": "sales", "requests_per_minute": 1}
    assert house.ask("PUT", "/limits", other, key=operator).status == 200
    assert house.ask("PUT", "/limits", other, key=house.key("developer")).status == 403
    assert house.ask("DELETE", "/limits?scope=team&subject=nobody").status == 404


def test_the_command_line_sets_lists_and_ends_limits(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    def cli(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--url", house.url, "--key", ROOT_KEY])
        assert not ended.value.code
        return capsys.readouterr().out

    assert "60 requests a minute, 900 tokens a minute" in cli(
        "limits", "set", "team", "a/b", "--rpm", "60", "--tpm", "900"
    )
    assert "a/b" in cli("limits", "list")
    assert "a/b" in cli("limits", "end", "team", "a/b")
    assert "a/b" not in cli("limits", "list")
