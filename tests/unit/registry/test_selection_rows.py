"""What rows say for ``auto``: read strictly, and the built-in one where no row has that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.models.route import Weights
from gateway.registry.loader import CatalogueHolder, load_catalogue

PROVIDERS = """providers:
  openai: {type: openai, base_url: "https://api.openai.com/v1", api_key: "${OPENAI_API_KEY}"}
  local: {type: llama_cpp}
  builtin: {type: local}
"""
MODELS = """models:
  big: {type: llm, provider: openai, quality: 0.8, capabilities: [tools, vision]}
  small: {type: llm, provider: local}
  risk: {type: classification, provider: builtin}
"""
ROUTE = "  best: {type: llm, route: {strategy: auto, deployments: [big, small], %s}}\n"


def write(folder: Path, models: str = MODELS, workflows: str = "workflows: []\n") -> Path:
    for name, text in (("providers", PROVIDERS), ("models", models), ("workflows", workflows)):
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_without_a_row_auto_is_over_every_language_model(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path), {})
    auto = catalogue.model("auto")
    assert auto.route is not None
    assert auto.route.strategy == "auto"
    assert [item.model for item in auto.route.deployments] == ["big", "small"]
    assert auto.route.each_allowed
    assert auto.provider == "local", "the first that is configured"
    assert catalogue.model("big").quality == 0.8
    assert catalogue.model("big").capabilities == ("tools", "vision")
    assert catalogue.model("small").quality is None


def test_a_row_of_that_name_is_the_rows(tmp_path: Path) -> None:
    own = "  auto: {type: llm, route: {strategy: auto, deployments: [big], weights: {cost: 2}}}\n"
    route = load_catalogue(write(tmp_path, MODELS + own), {}).model("auto").route
    assert route is not None
    assert (route.weights, route.each_allowed) == (Weights(cost=2.0), False)
    none = "models:\n  risk: {type: classification, provider: builtin}\n"
    assert "auto" not in load_catalogue(write(tmp_path, none), {}).models


def test_auto_may_be_the_default(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path, MODELS + "defaults: {llm: auto}\n"), {})
    assert catalogue.default_model("llm_analysis") == "auto"


@pytest.mark.parametrize(
    ("models", "place"),
    [
        (MODELS.replace("0.8", "80"), "models.yaml:2: models.big.quality"),
        (MODELS.replace("0.8", "true"), "models.yaml:2: models.big.quality"),
        (MODELS.replace("[tools, vision]", "[telepathy]"), "models.yaml:2: models.big.capabilities"),
        (MODELS.replace("[tools, vision]", "tools"), "models.yaml:2: models.big.capabilities"),
        (MODELS.replace("builtin}", "builtin, quality: 1}"), "models.yaml:4: models.risk.quality"),
        (MODELS + ROUTE % "weights: {speed: 1}", "models.yaml:5: models.best.route.weights"),
        (MODELS + ROUTE % "weights: {cost: -1}", "models.yaml:5: models.best.route.weights.cost"),
        (MODELS + ROUTE % "sticky: session", "models.yaml:5: models.best.route.sticky"),
        (
            MODELS + (ROUTE % "weights: {cost: 1}").replace("auto", "priority"),
            "models.yaml:5: models.best.route.weights",
        ),
        (MODELS.replace("local}", "local, fallbacks: [best]}") + ROUTE % "stream: live", "models.yaml:3: models.small"),
    ],
)
def test_what_is_wrong_has_its_line(tmp_path: Path, models: str, place: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load_catalogue(write(tmp_path, models), {})
    assert caught.value.message.startswith(place), caught.value.message


def test_a_catalogue_that_fails_its_check_does_not_come_into_force(tmp_path: Path) -> None:
    def check(catalogue: object) -> None:
        if getattr(catalogue, "workflows", ()):
            raise ConfigurationInvalid("it cannot run")

    holder = CatalogueHolder(write(tmp_path), {}, check)
    before = holder.current
    write(tmp_path, workflows="workflows: [{workflow_id: x}]\n")
    assert not holder.refresh()
    assert holder.current is before
    assert holder.last_error is not None
    write(tmp_path)
    assert holder.refresh()
    assert holder.last_error is None


def test_how_bedrock_holds_answers_to_a_schema_is_one_of_two_words(tmp_path: Path) -> None:
    row = "  bed: {type: llm, provider: bedrock, options: {structured_output: %s}}\n"
    bedrock = "  bedrock: {type: bedrock, base_url: 'https://b.example', api_key: k, options: {region: eu-west-1}}\n"
    folder = write(tmp_path, MODELS + row % "native")
    (folder / "providers.yaml").write_text(PROVIDERS + bedrock)
    assert load_catalogue(folder, {}).model("bed").options == {"structured_output": "native"}
    for wrong in (row % "maybe", row.replace("structured_output", "structured") % "native"):
        (folder / "models.yaml").write_text(MODELS + wrong)
        with pytest.raises(ConfigurationInvalid, match="bed"):
            load_catalogue(folder, {})
