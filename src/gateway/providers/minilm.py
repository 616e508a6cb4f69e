"""The embedded embedding model, in NumPy: a BERT encoder of MiniLM's size, pooled by mean, of length one.

Weights are read from a safetensors file that is mapped, not copied: processes share its pages. Texts of
a call go through the dense layers together, without padding; each has attention of its own, so a text's
vector does not depend on its neighbours.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from threadpoolctl import ThreadpoolController

from gateway.providers.wordpiece import WordPiece

Floats = NDArray[np.float32]
#: Tokens that go through the layers at once: bounds the memory of a call.
_AT_ONCE = 2_048


class MiniLM:
    """A model in ``folder``: ``config.json``, ``vocab.txt``, ``model.safetensors``. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._epsilon = np.float32(config["layer_norm_eps"])
        #: The most tokens of a text, its two ends included.
        self.longest = int(config["max_position_embeddings"])
        self.dimensions = int(config["hidden_size"])
        self._tokens = WordPiece((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
        self._weights = _read(folder / "model.safetensors")
        self._threads = ThreadpoolController()

    def ids(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self._tokens.ids(text)

    def embed(self, texts: list[list[int]]) -> list[Floats]:
        """A vector of length one for each list of tokens (1 to ``longest`` of them)."""
        # More threads spin against those who serve, and are slower on a busy machine.
        with self._threads.limit(limits=1, user_api="blas"):
            return self._all(texts)

    def _all(self, texts: list[list[int]]) -> list[Floats]:
        found: list[Floats] = []
        batch: list[list[int]] = []
        for text in texts:
            if batch and sum(map(len, batch)) + len(text) > _AT_ONCE:
                found += self._embed(batch)
                batch = []
            batch.append(text)
        return found + self._embed(batch) if batch else found

    def _embed(self, texts: list[list[int]]) -> list[Floats]:
        weights, lengths = self._weights, [len(text) for text in texts]
        ends = np.cumsum(lengths)
        spans = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
        state = weights["embeddings.word_embeddings.weight"][np.concatenate(texts)]
        state = state + weights["embeddings.position_embeddings.weight"][np.concatenate([*map(np.arange, lengths)])]
        state = self._normal(state + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self._layers):
            state = self._layer(state, spans, f"encoder.layer.{layer}.")
        pooled = [state[span].mean(axis=0) for span in spans]
        return [vector / np.linalg.norm(vector) for vector in pooled]

    def _layer(self, state: Floats, spans: list[slice], name: str) -> Floats:
        query, key, value = (self._dense(state, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        seen = np.empty_like(state)
        for span in spans:
            seen[span] = self._attention(query[span], key[span], value[span])
        state = self._normal(
            state + self._dense(seen, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm"
        )
        wide = self._dense(state, f"{name}intermediate.dense")
        wide *= np.float32(0.5) * (np.float32(1) + erf(wide * np.float32(2**-0.5)))  # GELU
        return self._normal(state + self._dense(wide, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _attention(self, query: Floats, key: Floats, value: Floats) -> Floats:
        length, width = query.shape[0], self.dimensions // self._heads
        heads = [part.reshape(length, self._heads, width).transpose(1, 0, 2) for part in (query, key, value)]
        scores = heads[0] @ heads[1].transpose(0, 2, 1) * np.float32(width**-0.5)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        seen: Floats = (scores @ heads[2]).transpose(1, 0, 2).reshape(length, self.dimensions)
        return seen

    def _dense(self, state: Floats, name: str) -> Floats:
        product: Floats = state @ self._weights[f"{name}.weight"].T
        product += self._weights[f"{name}.bias"]
        return product

    def _normal(self, state: Floats, name: str) -> Floats:
        centred = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + self._epsilon)
        normal: Floats = centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return normal


def _read(file: Path) -> dict[str, Floats]:
    """The 32-bit tensors of a safetensors file: an 8-byte length, a JSON header, then the numbers."""
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    size = int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8 : 8 + size])
    tensors: dict[str, Floats] = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            numbers = np.frombuffer(mapped, "<f4", (end - start) // 4, 8 + size + start)
            tensors[name] = numbers.reshape(entry["shape"])
    return tensors
