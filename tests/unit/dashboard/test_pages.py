"""The dashboard: its files are all served, from here alone, and none of them trusts what it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from fixtures.house import House, running_house
from gateway.dashboard.pages import Page, pages

PAGES = {page.path: page for page in pages()}
SCRIPTS = [page for page in pages() if page.path.endswith(".js")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def test_the_page_is_served_to_anybody_and_says_nothing_private(house: House) -> None:
    for path, page in PAGES.items():
        found = house.ask("GET", path, key=None)
        assert (found.status, found.raw) == (200, page.content)
        assert found.headers["content-type"] == page.media_type


def test_everything_it_refers_to_is_there() -> None:
    index = PAGES["/dashboard"].content.decode()
    named = re.findall(r'(?:href|src)="(/[^"]+)"', index)
    assert {"/dashboard/app.js", "/dashboard/style.css"} <= set(named) <= set(PAGES)
    for page in SCRIPTS:
        for module in re.findall(r'from "\./([\w.]+)"', page.content.decode()):
            assert f"/dashboard/{module}" in PAGES, (page.path, module)


def test_the_policy_allows_its_own_files_and_nothing_else() -> None:
    for page in PAGES.values():
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("page", SCRIPTS, ids=lambda page: page.path)
def test_no_script_makes_markup_of_data_or_calls_elsewhere(page: Page) -> None:
    text = page.content.decode()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"):
        assert word not in text, word
    hosts = re.findall(r"https?://[^\s\"'`]+", text)
    assert set(hosts) <= {"http://www.w3.org/2000/svg"}


def test_no_script_or_style_stands_in_the_page() -> None:
    index = PAGES["/dashboard"].content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|style=", index)


@pytest.mark.parametrize("path", ["/dashboard/../pages.py", "/dashboard/%2e%2e/pages.py", "/dashboard/nothing.js"])
def test_no_other_file_can_be_had(house: House, path: str) -> None:
    assert house.ask("GET", path, key=None).status == 404


def test_every_address_that_a_script_asks_for_is_a_door(house: House) -> None:
    doors = {path for _, path in house.permissions}
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/?]+", door) + "$") for door in doors]
    asked = set()
    for page in SCRIPTS:
        text = page.content.decode()
        asked |= set(re.findall(r'(?:get|api)\((?:"[A-Z]+", )?["`](/[^"`?]*)', text))
    assert len(asked) >= 10
    for path in asked:
        whole = re.sub(r"\$\{.*?\}(?=/|$)", "x", path.split("${cursor")[0])
        assert any(pattern.match(whole) for pattern in patterns), path
