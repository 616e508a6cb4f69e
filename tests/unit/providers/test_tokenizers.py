"""The tokenizer and its tables: the published ones, from an installed package, whatever the text."""

from __future__ import annotations

import gzip
import random
from importlib import import_module
from pathlib import Path

import pytest

from gateway.errors import Unavailable
from gateway.providers import tokenizers
from gateway.providers.tokenizers import BpeTokenizers, read_table

TOKENIZERS = BpeTokenizers()
ENCODINGS = ("cl100k_base", "o200k_base")


@pytest.mark.parametrize(
    ("encoding", "text", "tokens"),
    [
        ("cl100k_base", "antidisestablishmentarianism", 6),
        ("cl100k_base", "2 + 2 = 4", 7),
        ("cl100k_base", "お誕生日おめでとう", 9),
        ("o200k_base", "antidisestablishmentarianism", 6),
        ("o200k_base", "2 + 2 = 4", 7),
        ("o200k_base", "お誕生日おめでとう", 8),
        ("o200k_base", "", 0),
        ("o200k_base", "<|endoftext|>", 7),
    ],
)
def test_known_counts(encoding: str, text: str, tokens: int) -> None:
    """OpenAI's cookbook has the first ones; a special token in a text is only text."""
    assert TOKENIZERS.counter(encoding)(text) == tokens


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_long_text_counts_the_same_in_pieces(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    words = ["risk", " 12", "3,456.78", "\n", "\n\n", "  ", "été", "  \n", "/", "-- ", "'s", "\t", "😀", "_x", "\r\n"]
    text = "".join(chance.choice(words) for _ in range(60_000))
    count = TOKENIZERS.counter(encoding)
    pieces = list(tokenizers._pieces(text))
    whole = count(text)
    monkeypatch.setattr(tokenizers, "_PIECE", 1_000)
    assert "".join(tokenizers._pieces(text)) == text
    assert len(list(tokenizers._pieces(text))) > len(pieces)
    assert count(text) == whole


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("piece", [" ", "\n", "\t", "a", "　", "-"])
def test_a_million_times_the_same_is_counted(encoding: str, piece: str) -> None:
    """The splitter itself gives up on a million spaces in a row."""
    assert 1_000 < TOKENIZERS.counter(encoding)(piece * 1_000_001) < 1_000_001


def test_another_table_is_refused() -> None:
    with pytest.raises(Unavailable, match="not the published one"):
        BpeTokenizers(lambda encoding: read_table(encoding) + b"\n").counter("cl100k_base")


def test_a_missing_table_is_told() -> None:
    with pytest.raises(Unavailable, match="not installed"):
        read_table("p50k_base")


def test_a_damaged_table_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "cl100k_base.tiktoken.gz"
    table.write_bytes(gzip.compress(read_table("cl100k_base")[:10_000])[:-100])

    class Found:
        name = table.name

        def locate(self) -> Path:
            return table

    monkeypatch.setattr(tokenizers, "files", lambda _: [Found()])
    with pytest.raises(Unavailable, match="cannot be read"):
        read_table("cl100k_base")


def test_a_table_is_read_once() -> None:
    asked: list[str] = []

    def read(encoding: str) -> bytes:
        asked.append(encoding)
        return read_table(encoding)

    mine = BpeTokenizers(read)
    assert mine.counter("cl100k_base") is mine.counter("cl100k_base")
    assert asked == ["cl100k_base"]


def test_tiktoken_itself_is_left_as_it_was() -> None:
    TOKENIZERS.counter("cl100k_base")
    assert (
        import_module("tiktoken_ext.openai_public").load_tiktoken_bpe
        is import_module("tiktoken.load").load_tiktoken_bpe
    )
