"""Guards in ``models.yaml``: read strictly, and carried to every model that a call may start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.registry.catalogue import Catalogue
from gateway.registry.loader import load_catalogue

PROVIDERS = 'providers:\n  p: {type: openai, base_url: "http://127.0.0.1:9", api_key: k}\n  own: {type: local}\n'


def load(folder: Path, models: str) -> Catalogue:
    (folder / "providers.yaml").write_text(PROVIDERS)
    (folder / "models.yaml").write_text(models)
    (folder / "workflows.yaml").write_text("workflows: []\n")
    return load_catalogue(folder, {})


def names(catalogue: Catalogue, model: str) -> list[str]:
    return [guard.name for guard in catalogue.models[model].guards]


def test_a_row_has_its_own_guards_or_the_default(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """guards: [pii, {guard: output, max_characters: 9}]
models:
  a: {type: llm, provider: p}
  b: {type: llm, provider: p, guards: []}
  c: {type: llm, provider: p, guards: [{guard: secrets, action: redact, on: [input, output]}]}
  e: {type: embedding, provider: p}
  r: {type: classification, provider: own}
""",
    )
    assert names(found, "a") == ["pii", "output"]
    assert names(found, "b") == []
    assert names(found, "e") == ["pii"]
    assert names(found, "r") == []
    (secrets,) = found.models["c"].guards
    assert (secrets.action, secrets.stages) == ("redact", ("input", "output"))
    assert found.models["a"].guards[0].action == "redact"


def test_a_call_carries_the_guards_of_every_model_it_may_end_at(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """models:
  free: {type: llm, provider: p, fallbacks: [strict]}
  strict: {type: llm, provider: p, guards: [{guard: pii, kinds: [email]}, secrets]}
  route: {type: llm, route: {deployments: [free, strict]}, guards: [pii]}
  far: {type: llm, provider: p, fallbacks: {content_refused: [route]}}
""",
    )
    assert names(found, "free") == ["pii", "secrets"]
    assert names(found, "route") == ["pii", "pii+", "secrets"]
    assert found.models["route"].guards[1].options == {"kinds": ["email"]}
    assert set(names(found, "far")) == {"pii", "pii+", "secrets"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("pii", "a list of guards"),
        ("[zonk]", "no such guard"),
        ("[{guard: pii, actoin: block}]", "no such field"),
        ("[{guard: injection, action: redact}]", "it can: flag, block"),
        ("[{guard: limits}]", "without a limit"),
        ("[{guard: limits, max_turns: many}]", "a whole number"),
        ("[{guard: limits, banned: ['a(']}]", "not a regular expression"),
        ("[{guard: pii, kinds: [name]}]", "known: email"),
        ("[{guard: pii, terms: [x]}]", "2 to 80 characters"),
        ("[{guard: pii, on: [answer]}]", "looks at: input, output"),
        ("[{guard: pii, name: 'P I'}]", "small letters"),
        ("[pii, pii]", "twice"),
        ("[{guard: schema, schema: [1]}]", "an object"),
        ("[{guard: schema, schema: {type: zonk}}]", "not a JSON schema"),
        ("[{guard: injection, threshold: 0}]", "above 0"),
        ("[{guard: custom, name: nobodys}]", "no installed package offers"),
        ("[1]", "the name of a guard"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load(tmp_path, f"models:\n  a:\n    type: llm\n    provider: p\n    guards: {row}\n")
    text = f"{caught.value.message} {caught.value.mend}"
    assert "models.yaml:5" in text
    assert "models.a.guards" in text
    assert told in text


def test_what_has_no_answer_has_no_output_guards(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="gives no text"):
        load(tmp_path, "models:\n  e: {type: embedding, provider: p, guards: [schema]}\n")
    with pytest.raises(ConfigurationInvalid, match="takes no text"):
        load(tmp_path, "models:\n  r: {type: classification, provider: own, guards: [pii]}\n")
    with pytest.raises(ConfigurationInvalid, match=r"models\.yaml:1: guards\.0"):
        load(tmp_path, "guards: [{guard: nothing}]\nmodels: {}\n")
