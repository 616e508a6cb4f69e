"""The three configuration files: read strictly, with the line of what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid, ModelNotFound
from gateway.registry.loader import CatalogueHolder, load_catalogue

CONFIG = Path(__file__).resolve().parents[3] / "config"
PROVIDERS = """providers:
  openai: {type: openai, base_url: "https://api.openai.com/v1", api_key: "${OPENAI_API_KEY}"}
  local: {type: llama_cpp}
  builtin: {type: local}
"""
MODELS = """models:
  gpt-4:
    type: llm
    provider: openai
    fallbacks: [small]
  small: {type: llm, provider: local}
  risk: {type: classification, provider: builtin}
defaults:
  llm: small
"""


def write(
    folder: Path, *, providers: str = PROVIDERS, models: str = MODELS, workflows: str = "workflows: []\n"
) -> Path:
    for name, text in (("providers", providers), ("models", models), ("workflows", workflows)):
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_the_files_that_come_with_it() -> None:
    catalogue = load_catalogue(CONFIG, {})
    assert {"gpt-4", "claude-3-sonnet", "smollm2", "risk-classifier"} <= set(catalogue.models)
    assert not catalogue.provider("openai").configured
    assert catalogue.provider("openai").missing == ("OPENAI_API_KEY",)
    assert load_catalogue(CONFIG, {"OPENAI_API_KEY": "sk-x"}).provider("openai").configured
    assert {workflow["workflow_id"] for workflow in catalogue.workflows} >= {"risk_analysis", "scenario_generation"}
    assert catalogue.default_model("llm_analysis") == "smollm2"


def test_rows_are_typed(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path), {"OPENAI_API_KEY": "sk-secret"})
    assert catalogue.model("gpt-4").fallbacks == ("small",)
    assert catalogue.provider("openai").api_key == "sk-secret"
    assert catalogue.default_model("llm_summary") == "small"
    assert catalogue.default_model("other") is None
    with pytest.raises(ModelNotFound) as caught:
        catalogue.model("gpt4")
    assert "gpt-4" in (caught.value.mend or "")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"providers": "providers:\n  x: {type: openay}\n"}, "providers.yaml:2"),
        ({"providers": PROVIDERS + "  y: {type: local, colour: 1}\n"}, "providers.yaml:5"),
        ({"providers": PROVIDERS.replace("https://api", "ftp://api")}, "providers.yaml:2"),
        ({"providers": PROVIDERS + "  local: {type: local}\n"}, "providers.yaml:5"),
        ({"providers": "providers: [1]\n"}, "providers.yaml:1"),
        ({"providers": "providers: {a: &x {type: local}, b: *x}\n"}, "providers.yaml:1"),
        ({"providers": "providers: !!python/object:os.system {}\n"}, "providers.yaml:1"),
        ({"providers": "providers: {\n"}, "providers.yaml"),
        ({"models": MODELS.replace("provider: openai", "provider: opena")}, "models.yaml:4"),
        ({"models": MODELS.replace("type: llm\n", "type: lm\n")}, "models.yaml:3"),
        ({"models": MODELS.replace("[small]", "[large]")}, "models.yaml:5"),
        ({"models": MODELS.replace("[small]", "[risk]")}, "models.yaml:5"),
        ({"models": MODELS.replace("llm: small", "llm: large")}, "models.yaml:9"),
        ({"models": MODELS.replace("provider: builtin", "provider: local")}, "models.yaml:7"),
        ({"models": MODELS.replace("provider: local}", "provider: local, context_window: -1}")}, "models.yaml:6"),
        ({"workflows": "workflows: {}\n"}, "workflows.yaml:1"),
        ({"workflows": "flows: []\n"}, "workflows.yaml:1"),
    ],
)
def test_what_is_wrong_has_file_and_line(tmp_path: Path, change: dict[str, str], place: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load_catalogue(write(tmp_path, **change), {"OPENAI_API_KEY": "sk-secret"})
    assert caught.value.message.startswith(place), caught.value.message
    assert "sk-secret" not in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "models.yaml").unlink()
    with pytest.raises(ConfigurationInvalid, match=r"models\.yaml is missing"):
        load_catalogue(tmp_path, {})


def test_an_edit_is_taken_and_a_bad_one_keeps_the_last_good(tmp_path: Path) -> None:
    holder = CatalogueHolder(write(tmp_path), {})
    first = holder.current
    assert not holder.refresh()
    write(tmp_path, models=MODELS.replace("small", "tiny"))
    assert holder.refresh()
    assert holder.current.epoch != first.epoch
    assert "tiny" in holder.current.models
    good = holder.current
    write(tmp_path, models="models: {")
    assert not holder.refresh()
    assert holder.current is good
    assert holder.last_error is not None
    write(tmp_path)
    assert holder.refresh()
    assert holder.last_error is None
    assert holder.current.epoch == first.epoch, "the same files have the same epoch"


def test_the_epoch_is_that_of_the_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(CONFIG, tmp_path / name)
    assert load_catalogue(tmp_path / "a", {}).epoch == load_catalogue(tmp_path / "b", {"OPENAI_API_KEY": "x"}).epoch
