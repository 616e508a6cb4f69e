"""LightGBM models for serving, through LightGBM's own C library.

The Python package ``lightgbm`` imports scikit-learn and pandas as soon as it is imported (seconds
and some hundred MB for a process that only predicts), so a serving process talks to the library
that the package ships. Training uses the Python package (``ml/trainers``).
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ArtifactCorrupt, NotSupported

# Constants of LightGBM's c_api.h.
_FLOAT64 = 1
_ROW_MAJOR = 1
_RAW_SCORE = 1
_CONTRIBUTIONS = 3
#: One thread: a request must not fan out over the cores that other requests use. No log on stdout.
_PARAMETERS = b"num_threads=1 verbosity=-1"


class NativeBooster:
    """One loaded model. Safe from any thread: prediction only reads, and frees the interpreter lock."""

    def __init__(self, text: str, features: int) -> None:
        """``text`` is LightGBM's text format. ``ArtifactCorrupt`` where it is not, or where the model
        was trained on another number of features."""
        self._library = _library()
        handle, rounds = ctypes.c_void_p(), ctypes.c_int()
        self._check(
            self._library.LGBM_BoosterLoadModelFromString(
                text.encode("ascii", "replace"), ctypes.byref(rounds), ctypes.byref(handle)
            )
        )
        self._handle = handle
        weakref.finalize(self, self._library.LGBM_BoosterFree, handle)
        self.outputs = self._count(self._library.LGBM_BoosterGetNumClasses)
        self.features = self._count(self._library.LGBM_BoosterGetNumFeature)
        if self.features != features:
            raise ArtifactCorrupt(f"the model takes {self.features} features, its schema names {features}")

    def raw_scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n, outputs): the sum of the trees, before any link function."""
        return self._predict(rows, _RAW_SCORE, self.outputs).reshape(len(rows), self.outputs)

    def contributions(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n, outputs, features + 1): the exact path-dependent Shapley values, the last column
        being the base value. They sum to the raw score."""
        width = self.outputs * (self.features + 1)
        return self._predict(rows, _CONTRIBUTIONS, width).reshape(len(rows), self.outputs, self.features + 1)

    def _predict(self, rows: NDArray[np.float64], kind: int, width: int) -> NDArray[np.float64]:
        matrix = np.ascontiguousarray(rows, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != self.features:
            raise ValueError(f"rows of {self.features} features are needed, not an array of shape {matrix.shape}")
        answer = np.empty(len(matrix) * width, dtype=np.float64)
        written = ctypes.c_int64()
        self._check(
            self._library.LGBM_BoosterPredictForMat(
                self._handle,
                matrix.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(matrix.shape[0]),
                ctypes.c_int32(matrix.shape[1]),
                ctypes.c_int(_ROW_MAJOR),
                ctypes.c_int(kind),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_char_p(_PARAMETERS),
                ctypes.byref(written),
                answer.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            )
        )
        if written.value != answer.size:
            raise ArtifactCorrupt(f"the model answered {written.value} values where {answer.size} belong")
        return answer

    def _count(self, ask: ctypes._NamedFuncPointer) -> int:
        count = ctypes.c_int()
        self._check(ask(self._handle, ctypes.byref(count)))
        return count.value

    def _check(self, status: int) -> None:
        if status != 0:
            reason = self._library.LGBM_GetLastError().decode("utf-8", "replace")
            raise ArtifactCorrupt(f"LightGBM cannot use this model: {reason[:200]}")


@cache
def _library() -> ctypes.CDLL:
    """The shared library inside the installed ``lightgbm`` package, which itself is not imported."""
    spec = find_spec("lightgbm")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for path in sorted(Path(folder).glob("lib/lib_lightgbm.*")):
            library = ctypes.cdll.LoadLibrary(str(path))
            library.LGBM_GetLastError.restype = ctypes.c_char_p
            return library
    raise NotSupported("LightGBM's library is not installed here", mend="install the package lightgbm")
