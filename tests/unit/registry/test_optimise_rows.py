"""``optimise`` and ``count`` in ``models.yaml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.models.optimise import METHODS, Optimise, Trim
from gateway.registry.catalogue import ModelSpec
from gateway.registry.loader import load_catalogue

FILES = {
    "providers": "providers:\n  local: {type: llama_cpp}\n",
    "models": "models:\n  m:\n    type: llm\n    provider: local\n    ROW\n",
    "workflows": "workflows: []\n",
}


def row(folder: Path, text: str) -> ModelSpec:
    for name, content in FILES.items():
        (folder / f"{name}.yaml").write_text(content.replace("ROW", text))
    return load_catalogue(folder, {}).models["m"]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("optimise: {}", Optimise()),
        ("optimise: {compact: true}", Optimise(METHODS)),
        ("optimise: {compact: false, prompt_cache: off}", Optimise()),
        ("optimise: {compact: [repeats, json], repeat_tokens: 100}", Optimise(("json", "repeats"), 100)),
        (
            "optimise: {trim: {max_input_tokens: 9, keep_first: 1, keep_last: 2, pinned: [0, -1]}, prompt_cache: auto}",
            Optimise(trim=Trim(9, 1, 2, (0, -1)), prompt_cache="auto"),
        ),
    ],
)
def test_what_a_row_may_ask(tmp_path: Path, text: str, asked: Optimise) -> None:
    assert row(tmp_path, text).optimise == asked


def test_nothing_is_asked_by_a_row_that_says_nothing(tmp_path: Path) -> None:
    spec = row(tmp_path, "description: plain")
    assert (spec.optimise, spec.count) == (None, "bytes")
    assert row(tmp_path, "count: exact").count == "exact"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimise: true", "an object"),
        ("optimise: {compaction: true}", "no such field"),
        ("optimise: {compact: all}", "true, false or a list"),
        ("optimise: {compact: [json, yaml]}", "json, tables, whitespace, repeats"),
        ("optimise: {repeat_tokens: 2}", "16"),
        ("optimise: {prompt_cache: always}", "off or auto"),
        ("optimise: {trim: 5}", "an object"),
        ("optimise: {trim: {keep_last: 2}}", "is needed"),
        ("optimise: {trim: {max_input_tokens: many}}", "a whole number"),
        ("optimise: {trim: {max_input_tokens: 5, pinned: 0}}", "a list"),
        ("optimise: {trim: {max_input_tokens: 5, pinned: [a]}}", "a whole number"),
        ("count: tokens", "bytes, exact"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        row(tmp_path, text)
    assert said in f"{caught.value.message} {caught.value.mend}"
    assert "models.yaml" in caught.value.message
    assert "5" in caught.value.message
