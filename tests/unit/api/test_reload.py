"""Configuration is taken while calls are on their way: none is dropped, a bad file changes nothing."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fixtures.house import ROOT_KEY, House, running_house
from fixtures.upstream import Play, answer, events, openai_answer, openai_chunks

PATH = "/v1/chat/completions"
BODY = {"model": "t-small", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def own_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway whose configuration may be edited."""
    with running_house(tmp_path_factory.mktemp("reloaded")) as running:
        yield running


def config(house: House, name: str) -> Path:
    return house.core.settings.config_dir / name


def epoch(house: House) -> str:
    return house.core.catalogue.current.epoch


@contextmanager
def open_stream(house: House) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection(urlsplit(house.url).netloc, timeout=30)) as connection:
        headers = {"content-type": "application/json", "authorization": f"Bearer {ROOT_KEY}"}
        connection.request("POST", PATH, json.dumps({**BODY, "stream": True}), headers)
        yield connection.getresponse()


def test_a_stream_outlives_an_edit_and_each_answer_names_its_configuration(own_house: House) -> None:
    house = own_house
    before = epoch(house)
    house.upstream.play(events(*openai_chunks("All ", "of it"), hang=4.0))
    with open_stream(house) as stream:
        assert b"All " in b"".join(stream.readline() for _ in range(4))
        models = config(house, "models.yaml")
        models.write_text(models.read_text().replace("upstream_model: small,", "upstream_model: smaller,"))
        House.until(lambda: epoch(house), lambda found: found != before)
        house.upstream.plays = [answer(openai_answer())]
        after = house.ask("POST", PATH, BODY)
        assert house.upstream.sent[-1].body["model"] == "smaller"
        assert after.headers["x-gateway-config"] == epoch(house)
        rest = stream.read()
        assert b"of it" in rest
        assert b"[DONE]" in rest
        assert stream.headers["x-gateway-config"] == before
    entries = House.until(
        lambda: house.ask("GET", "/usage/entries?limit=2").body["entries"], lambda found: len(found) == 2
    )
    assert {entry["config_epoch"] for entry in entries} == {before, epoch(house)}
    records = house.ask("GET", "/audit?action=llm.call&limit=2").body["records"]
    assert {record["detail"]["config"] for record in records} == {before, epoch(house)}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("models.yaml", "models: {", "models.yaml"),
        ("models.yaml", b"\xff\xfe", "models.yaml"),
        ("workflows.yaml", "workflows: [{workflow_id: bad, name: Bad, steps: []}]", "steps"),
        ("providers.yaml", None, "providers.yaml"),
    ],
)
def test_a_bad_file_keeps_the_last_good_one_and_is_told(
    own_house: House, name: str, text: str | bytes | None, told: str
) -> None:
    house, path = own_house, config(own_house, name)
    good, before = path.read_bytes(), epoch(own_house)
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def said() -> str:
        parts: dict[str, str] = house.ask("GET", "/readyz").body["parts"]
        return parts["configuration"]

    problem = House.until(said, lambda found: found != "ok")
    assert told in problem
    assert f"{before} stays in force" in problem
    assert house.ask("GET", "/readyz").status == 200
    house.upstream.play(answer(openai_answer()))
    assert house.ask("POST", PATH, BODY).headers["x-gateway-config"] == before
    path.write_bytes(good)
    assert House.until(said, lambda found: found == "ok")
    assert epoch(house) == before


def test_refusals_and_changes_name_the_configuration_too(own_house: House) -> None:
    house = own_house
    house.upstream.play(Play(400, [b"{}"]))
    for path, body in ((PATH, BODY), (PATH, {"model": "none"}), ("/feedback", {})):
        assert house.ask("POST", path, body).headers["x-gateway-config"] == epoch(house)
    assert house.ask("GET", "/models").headers["x-gateway-config"] == epoch(house)
    house.ask("POST", "/prompts", {"name": "named", "template": "Hello"})
    change = house.ask("GET", "/audit?action=prompts:write&limit=1").body["records"][0]
    assert change["detail"]["config"] == epoch(house)
