"""``/v1/models`` for callers of Anthropic's dialect: pages, one model, refusals in its words."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from fixtures.house import ROOT_KEY, Answer, House

PATH = "/v1/models"
SPEAKS = {"anthropic-version": "2023-06-01"}
KEPT = ("smollm2", "gpt-4", "claude-3-sonnet", "claude-3-haiku", "t-gemini")


@pytest.fixture
def key(house: House) -> str:
    return house.key("developer", models=KEPT)


def page(house: House, key: str, query: str = "") -> Answer:
    return house.ask("GET", f"{PATH}?{query}", key=key, headers=SPEAKS)


def ids(found: Answer) -> list[str]:
    assert found.status == 200, found.body
    rows = [row["id"] for row in found.body["data"]]
    assert (found.body["first_id"], found.body["last_id"]) == ((rows[0], rows[-1]) if rows else (None, None))
    return rows


def listed(house: House, key: str) -> list[str]:
    """The same models as OpenAI's dialect tells of, in its order."""
    found = house.ask("GET", PATH, key=key)
    assert found.body["object"] == "list"
    return [row["id"] for row in found.body["data"]]


def test_pages_in_both_directions(house: House, key: str) -> None:
    names = listed(house, key)
    assert sorted(names) == sorted(KEPT)
    first = page(house, key, "limit=2")
    assert (ids(first), first.body["has_more"]) == (names[:2], True)
    second = page(house, key, f"limit=2&after_id={names[1]}")
    assert (ids(second), second.body["has_more"]) == (names[2:4], True)
    last = page(house, key, f"limit=2&after_id={names[3]}")
    assert (ids(last), last.body["has_more"]) == (names[4:], False)
    assert ids(page(house, key, f"after_id={names[4]}")) == []
    back = page(house, key, f"limit=2&before_id={names[4]}")
    assert (ids(back), back.body["has_more"]) == (names[2:4], True)
    begin = page(house, key, f"limit=2&before_id={names[2]}")
    assert (ids(begin), begin.body["has_more"]) == (names[:2], False)
    assert ids(page(house, key, "limit=1000")) == names


def test_twenty_come_where_no_number_is_asked(house: House) -> None:
    everything = page(house, ROOT_KEY, "limit=1000").body["data"]
    assert len(everything) > 20
    found = page(house, ROOT_KEY)
    assert (found.body["data"], found.body["has_more"]) == (everything[:20], True)


def test_one_model_in_anthropics_words(house: House, key: str) -> None:
    found = house.ask("GET", f"{PATH}/claude-3-haiku", key=key, headers=SPEAKS)
    assert found.body == {
        "type": "model",
        "id": "claude-3-haiku",
        "display_name": "claude-3-haiku",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 4096,
    }
    assert found.headers["request-id"] == found.headers["x-request-id"]
    assert "max_tokens" not in house.ask("GET", f"{PATH}/claude-3-haiku", key=key).body


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=²"])
def test_a_bad_limit_is_a_bad_request(house: House, key: str, query: str) -> None:
    found = page(house, key, query.replace("²", "%C2%B2"))
    assert (found.status, found.body["type"]) == (400, "error")
    assert found.body["error"]["type"] == "invalid_request_error"
    assert "limit" in found.body["error"]["message"]


def test_what_cannot_be_asked_together_is_refused(house: House, key: str) -> None:
    assert page(house, key, "before_id=gpt-4&after_id=gpt-4").status == 400
    assert page(house, key, "lifecycle=ripe").status == 400


@pytest.mark.parametrize("name", ["nobody", "gpt-4o"])
def test_an_id_that_is_not_there_or_not_the_callers_is_not_found(house: House, key: str, name: str) -> None:
    for path in (f"{PATH}/{name}", f"{PATH}?after_id={name}", f"{PATH}?before_id={name}"):
        found = house.ask("GET", path, key=key, headers=SPEAKS)
        assert (found.status, found.body["type"], found.body["error"]["type"]) == (404, "error", "not_found_error")
    assert "type" not in house.ask("GET", f"{PATH}/{name}", key=key).body, "OpenAI's words without the header"


def test_the_official_sdk_goes_through_all_pages(house: House, key: str) -> None:
    names = listed(house, key)
    with anthropic.Anthropic(base_url=house.url, api_key=key, max_retries=0) as client:
        assert [model.id for model in client.models.list(limit=2)] == names
        assert [model.id for model in client.models.list()] == names
        backwards = client.models.list(limit=2, before_id=names[4])
        assert [[model.id for model in part.data] for part in backwards.iter_pages()] == [names[2:4], names[:2]]
        assert [model.id for model in client.models.list(lifecycle=["active", "deprecated"])] == names
        assert client.models.list(lifecycle=["retired"]).data == []
        found = client.models.retrieve("claude-3-haiku")
        assert (found.lifecycle, found.max_input_tokens, found.created_at.year) == ("active", 200_000, 1970)
        with pytest.raises(anthropic.NotFoundError) as missing:
            client.models.retrieve("nobody")
        with pytest.raises(anthropic.BadRequestError):
            client.models.list(limit=0)
    body: Any = missing.value.body
    assert body["error"]["type"] == "not_found_error"
