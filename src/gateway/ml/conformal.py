"""Split conformal prediction: a calibration sample's scores turned into a guarantee.

With n exchangeable calibration scores, the ceil((n + 1) * coverage)-th smallest covers a new score
with at least that probability. Over draws of the calibration sample, the coverage itself follows
Beta(k, n + 1 - k) with k that rank.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def quantile(sorted_scores: NDArray[np.float64], coverage: float) -> float:
    """The conformal quantile of ascending scores; ``inf`` where n is too small for the coverage."""
    rank = math.ceil((len(sorted_scores) + 1) * coverage - 1e-9)
    return float(sorted_scores[rank - 1]) if rank <= len(sorted_scores) else math.inf


def prediction_sets(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Shape (n, classes): the classes whose score ``1 - p`` is within the threshold. The likeliest
    class is always in, so that no set is empty (this can only raise the coverage)."""
    inside: NDArray[np.bool_] = (1.0 - probabilities) <= threshold
    inside[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return inside
