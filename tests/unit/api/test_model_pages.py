"""The list of models in pages, as Anthropic's SDK turns them; OpenAI's callers have it whole."""

from __future__ import annotations

import anthropic
import pytest

from fixtures.house import ROOT_KEY, House

PATH = "/v1/models"
VERSION = {"anthropic-version": "2023-06-01"}


def names(house: House, query: str = "", **headers: str) -> list[str]:
    found = house.ask("GET", PATH + query, headers=headers)
    assert found.status == 200, found.body
    return [row["id"] for row in found.body["data"]]


def test_anthropics_sdk_turns_its_pages(house: House) -> None:
    everything = names(house)
    assert len(everything) > 20, "more than a page"
    with anthropic.Anthropic(base_url=house.url, api_key=ROOT_KEY, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == everything
        first = client.models.list(limit=3)
        assert ([model.id for model in first.data], first.has_more) == (everything[:3], True)
        following = first.get_next_page()
        assert [model.id for model in following.data] == everything[3:6]
        back = client.models.list(limit=2, before_id=everything[3])
        assert ([model.id for model in back.data], back.has_more) == (everything[1:3], True)
        last = client.models.list(after_id=everything[-2])
        assert ([model.id for model in last.data], last.has_more) == (everything[-1:], False)
        assert client.models.retrieve(everything[0]).id == everything[0]


def test_a_page_is_twenty_unless_said(house: House) -> None:
    assert len(names(house, **VERSION)) == 20
    assert len(names(house, "?limit=1000", **VERSION)) == len(names(house))


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=1001", "?limit=many", "?limit=-1", "?after_id=nobody", "?before_id="]
)
def test_a_page_that_cannot_be_is_refused_in_the_doors_words(house: House, query: str) -> None:
    found = house.ask("GET", PATH + query + ("x" if query.endswith("=") else ""), headers=VERSION)
    assert found.status in (400, 422), found.body
    assert found.body["type"] == "error", found.body
    assert found.body["error"]["type"] == "invalid_request_error"


def test_both_ends_are_too_many(house: House) -> None:
    first = names(house)[0]
    assert house.ask("GET", f"{PATH}?after_id={first}&before_id={first}").status in (400, 422)
