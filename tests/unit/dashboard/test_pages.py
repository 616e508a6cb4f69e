"""The dashboard: its files are all served, from here alone, and none of them trusts what it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.house import House, running_house
from gateway.dashboard import pages as pages_module
from gateway.dashboard.pages import Page, pages

STATIC = Path(pages_module.__file__).with_name("static")
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
        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
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
    assert not re.search(r"https?:|//\w", index), "nothing comes from another host"


def test_the_policy_travels_with_every_file(house: House) -> None:
    for path, page in PAGES.items():
        headers = house.ask("GET", path, key=None).headers
        assert headers["content-security-policy"] == page.headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_style_sheet_loads_nothing() -> None:
    sheet = PAGES["/dashboard/style.css"].content.decode()
    assert not re.search(r"@import|url\(", sheet)
    for wish in ("prefers-color-scheme:dark", "prefers-reduced-motion", ":focus-visible", "max-width:560px"):
        assert wish in sheet, wish


@pytest.mark.parametrize("page", SCRIPTS, ids=lambda page: page.path)
def test_no_script_sets_what_the_policy_refuses(page: Page) -> None:
    text = page.content.decode()
    assert not re.search(r"""\bstyle:\s|setAttribute\(["']style|javascript:|new Function|\bimport\(""", text)
    assert not re.search(r"\bset(?:Timeout|Interval)\(\s*[\"'`]", text), "a text to be run is inline script"


@pytest.mark.parametrize("page", SCRIPTS, ids=lambda page: page.path)
def test_a_script_says_what_it_is_for_and_stays_short(page: Page) -> None:
    lines = page.content.decode().splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) < 400


def test_the_key_is_kept_in_the_tab_and_told_in_the_header_alone() -> None:
    holders = {page.path for page in SCRIPTS if "sessionStorage" in page.content.decode()}
    assert holders == {"/dashboard/api.js"}
    for page in SCRIPTS:
        assert "document.cookie" not in page.content.decode()
        assert not re.search(r"[?&](?:key|token)=", page.content.decode()), page.path


def test_every_module_is_reached_from_the_page() -> None:
    reached, waiting = set[str](), ["app.js"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += re.findall(r'from "\./([\w.]+)"', PAGES[f"/dashboard/{name}"].content.decode())
    assert {f"/dashboard/{name}" for name in reached} == {page.path for page in SCRIPTS}


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/../pages.py",
        "/dashboard/%2e%2e/pages.py",
        "/dashboard/..%2fpages.py",
        "/dashboard/....//pages.py",
        "/dashboard//etc/passwd",
        "/dashboard/%2fetc%2fpasswd",
        "/dashboard/app.js/../../pages.py",
        "/dashboard/app.js%00.html",
        "/dashboard/index.html",
        "/dashboard/static/app.js",
        "/dashboard/nothing.js",
        "/dashboard/runs",
    ],
)
def test_no_other_file_can_be_had(house: House, path: str) -> None:
    found = house.ask("GET", path, key=None)
    assert found.status == 404
    assert b"Path(__file__)" not in found.raw


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_files_are_only_read(house: House, method: str) -> None:
    assert house.ask(method, "/dashboard/app.js", {}, key=None).status == 405


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


def _run(script: str) -> Any:
    """What the modules answer outside a browser: the JSON that the script prints."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no JavaScript runtime here")
    done = subprocess.run(
        [node, "--input-type=module", "-"], input=script, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_money_stays_digit_for_digit() -> None:
    given = '{"cost":7.5E-7,"total_cost":1E-10,"limit_usd":123456789.0123456789,"spent_usd":0,"x_usd":-1.25E+3,"n":1.5}'
    # An engine without access to a number's source text keeps the shortest form that names it.
    exact = _run("console.log(JSON.parse('1.10', (n, v, c) => c?.source === '1.10'))")
    told = _run(
        f"import {{ parse }} from {json.dumps((STATIC / 'api.js').as_uri())};"
        f"console.log(JSON.stringify(parse({json.dumps(given)})))"
    )
    assert told["cost"] == "0.00000075"
    assert told["total_cost"] == "0.0000000001"
    assert told["spent_usd"] == "0"
    assert told["x_usd"] == "-1250"
    assert told["n"] == 1.5
    if exact:
        assert told["limit_usd"] == "123456789.0123456789"


def test_an_address_tells_what_a_list_is_narrowed_by_and_nothing_empty() -> None:
    told = _run(
        f"import {{ address }} from {json.dumps((STATIC / 'dom.js').as_uri())};"
        "console.log(JSON.stringify([address('runs', {}), address('runs', { of: 'run_1', step: 'a b', status: '',"
        " cursor: null })]))"
    )
    assert told == ["#/runs", "#/runs?of=run_1&step=a+b"]


def test_steps_stand_in_layers_by_what_they_wait_for() -> None:
    steps = [
        {"step_id": "d", "depends_on": ["b", "c"]},
        {"step_id": "a", "depends_on": []},
        {"step_id": "b", "depends_on": ["a"]},
        {"step_id": "c", "depends_on": ["a", "elsewhere"]},
        {"step_id": "e", "depends_on": ["a", "d"]},
    ]
    told = _run(
        f"import {{ layers }} from {json.dumps((STATIC / 'graph.js').as_uri())};"
        f"console.log(JSON.stringify(layers({json.dumps(steps)}).map((one) => one.map((step) => step.step_id))))"
    )
    assert told == [["a"], ["b", "c"], ["d"], ["e"]]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 9, [-2.5, 0, 2.5, 5, 7.5]), (0, 3e-7, [0, 1e-7, 2e-7, 3e-7])],
)
def test_axes_have_round_numbers(low: float, high: float, wanted: list[float]) -> None:
    told = _run(
        f"import {{ ticks }} from {json.dumps((STATIC / 'charts.js').as_uri())};"
        f"console.log(JSON.stringify(ticks({low}, {high})))"
    )
    assert told == pytest.approx(wanted)
