"""``batch`` of a row of ``models.yaml``, and where it may stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.registry.loader import load_catalogue

PROVIDERS = """
providers:
  openai: {type: openai, base_url: "https://api.openai.com/v1", api_key: none}
  other: {type: openai_compatible, base_url: "https://example.com/v1", api_key: none}
"""


def load(folder: Path, row: str) -> str:
    (folder / "providers.yaml").write_text(PROVIDERS)
    (folder / "models.yaml").write_text(f"models:\n  m: {{{row}}}\n  n: {{type: llm, provider: openai}}\n")
    (folder / "workflows.yaml").write_text("workflows: []\n")
    return load_catalogue(folder, {}).models["m"].batch


@pytest.mark.parametrize(
    ("row", "way"),
    [
        ("type: llm, provider: openai", "auto"),
        ("type: llm, provider: openai, batch: provider", "provider"),
        ("type: llm, provider: other, batch: inline", "inline"),
    ],
)
def test_it_says_which_way(tmp_path: Path, row: str, way: str) -> None:
    assert load(tmp_path, row) == way


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("type: llm, provider: openai, batch: often", "no such word"),
        ("type: llm, provider: other, batch: provider", "no batch API is known"),
        ("type: embedding, provider: openai, batch: auto", "only a language model"),
        ("type: llm, route: {deployments: [n]}, batch: auto", "only a language model"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, row: str, why: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=why):
        load(tmp_path, row)
