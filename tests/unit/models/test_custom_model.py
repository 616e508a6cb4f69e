"""The model of the how-to works as it is written there, by every way of asking."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fixtures.house import House, running_house
from unit.house.test_documents import blocks

PAGE = Path(__file__).resolve().parents[3] / "docs" / "howto" / "add-a-custom-model.md"
TEXT = (
    "Volatility rose in March. The office was painted blue. Volatility of equities rose most, and volatility of "
    "bonds followed. Lunch is at noon."
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway beside which the package of the page is installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "our_models.py").write_text(blocks(PAGE, "python")[0])
    points = tomllib.loads(blocks(PAGE, "toml")[0])["project"]["entry-points"]
    info = site / "our_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-models\nVersion: 1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in named.items()) for group, named in points.items()]
    (info / "entry_points.txt").write_text("".join(lines))
    sys.path.insert(0, str(site))
    try:
        with running_house(tmp_path_factory.mktemp("house")) as running:
            for name, key in (("providers.yaml", "providers"), ("models.yaml", "models")):
                path = running.core.settings.config_dir / name
                content = yaml.safe_load(path.read_text())
                for text in blocks(PAGE, "yaml"):
                    content[key] |= yaml.safe_load(text).get(key, {})
                path.write_text(yaml.safe_dump(content, sort_keys=False))
            running.core.catalogue.refresh()
            assert running.core.catalogue.last_error is None
            yield running
    finally:
        sys.path.remove(str(site))


def body(**fields: object) -> dict[str, object]:
    return {"model": "extractive", "messages": [{"role": "user", "content": TEXT}], **fields}


def test_it_answers_and_is_charged(house: House) -> None:
    found = house.ask("POST", "/v1/chat/completions", body(temperature=0.5))
    said = found.body["choices"][0]["message"]["content"]
    assert said == "Volatility rose in March. Volatility of equities rose most, and volatility of bonds followed."
    assert found.headers["x-gateway-cost-usd"] == "0.0001"
    assert found.headers["x-gateway-dropped-params"] == "temperature"
    strict = house.ask("POST", "/v1/chat/completions", body(temperature=0.5), headers={"x-gateway-strict": "1"})
    assert (strict.status, strict.body["error"]["param"]) == (400, "temperature")
    entry = house.ask("GET", "/usage/entries?limit=1").body["entries"][0]
    assert (entry["model"], entry["basis"]) == ("extractive", "counted")


def test_it_streams_by_the_other_dialect_too(house: House) -> None:
    found = house.ask("POST", "/v1/messages", body(stream=True, max_tokens=100))
    texts = re.findall(r'"text_delta","text":"([^"]*)"', found.raw.decode())
    assert "".join(texts).startswith("Volatility rose in March.")
    assert len(texts) > 5
    assert "message_stop" in found.raw.decode()


def test_its_refusal_is_told(house: House) -> None:
    short = {**body(), "messages": [{"role": "user", "content": "Too short."}]}
    found = house.ask("POST", "/v1/chat/completions", short)
    assert (found.status, found.body["error"]["code"]) == (400, "upstream_rejected")
    assert "at least 2 sentences" in found.body["error"]["message"]


def test_it_can_be_chosen(house: House) -> None:
    key = house.key("developer", models=("auto", "extractive"))
    found = house.ask("POST", "/v1/chat/completions", {**body(), "model": "auto"}, key=key)
    assert found.headers["x-gateway-model"] == "extractive"
