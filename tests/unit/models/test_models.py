"""The neutral values, and models that another package brings."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from gateway.errors import ConfigurationInvalid
from gateway.models import custom_models
from gateway.models.llm_models import Choice, Message, Reply, TextPart, ToolUsePart, Usage


def test_text_leaves_out_what_is_none() -> None:
    message = Message("assistant", (TextPart("a"), ToolUsePart("1", "f", "{}"), TextPart("b")))
    assert message.text() == "ab"
    assert Reply("1", "m", (Choice(message.parts, "stop"),), Usage()).text() == "ab"
    assert Reply("1", "m", (), Usage()).text() == ""


def test_total_tokens() -> None:
    assert Usage(5, 3, 2, 1, 1).total_tokens == 8


class Parrot:
    """A language model of another package."""

    def __init__(self, words: str) -> None:
        self.words = words


def test_a_model_of_another_package_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("parrot", f"{__name__}:Parrot", custom_models.LANGUAGE_MODELS)

    def offered(*, group: str) -> EntryPoints:
        return EntryPoints([point] if group == point.group else [])

    monkeypatch.setattr(custom_models, "entry_points", offered)
    monkeypatch.setattr(EntryPoint, "load", lambda _self: Parrot)
    made = custom_models.load_language_model("parrot", {"words": "hello"})
    assert isinstance(made, Parrot)
    with pytest.raises(ConfigurationInvalid, match="parrot"):
        custom_models.load_predictor("parrot", {})
