"""Turns a model's contributions into plain reasons, the strongest first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from gateway.models.ml_models import Contribution, FeatureSpec

#: Units whose values are read more easily as percentages, and those that say nothing to a reader.
_FRACTIONS = frozenset({"fraction", "share", "annualised"})
_SILENT = frozenset({"none", "ratio", "correlation"})


class Reason(Struct, frozen=True):
    """One feature's part in an answer. ``share``: of the sum of all absolute contributions."""

    feature: str
    value: float
    contribution: float
    share: float
    text: str


def reasons(
    contributions: Sequence[Contribution],
    specs: Sequence[FeatureSpec],
    *,
    raises: str,
    lowers: str,
    most: int = 5,
) -> tuple[Reason, ...]:
    """The ``most`` strongest contributions in words, each with its direction: ``raises`` and
    ``lowers`` say what a positive and a negative one do (``"speaks for high risk"``).

    Contributions of nothing (exactly 0) give no reason.
    """
    known = {spec.name: spec for spec in specs}
    total = math.fsum(abs(part.contribution) for part in contributions)
    ranked = sorted(contributions, key=lambda part: (-abs(part.contribution), part.feature))
    found = []
    for part in ranked[:most]:
        if part.contribution == 0.0:
            break
        share = abs(part.contribution) / total
        spec = known.get(part.feature, FeatureSpec(part.feature))
        direction = raises if part.contribution > 0 else lowers
        found.append(
            Reason(
                feature=part.feature,
                value=part.value,
                contribution=part.contribution,
                share=share,
                text=f"{described(spec, part.value)}: {direction} ({part.contribution:+.2f}, weight {share:.0%})",
            )
        )
    return tuple(found)


def described(spec: FeatureSpec, value: float) -> str:
    """``volatility over 21 days is 23.1 %``: the feature's description (else its name) and its value."""
    what = spec.description.rstrip(". ") or spec.name.replace("_", " ")
    return f"{what} is {readable(value, spec.unit)}"


def readable(value: float, unit: str) -> str:
    """The value with its unit at three significant digits, fractions as percentages."""
    if unit in _FRACTIONS:
        return f"{_short(100 * value)} %"
    return _short(value) if unit in _SILENT else f"{_short(value)} {unit}".strip()


def additive(contributions: Sequence[Contribution], base: float, raw: float, tolerance: float = 1e-9) -> bool:
    """Whether base value and contributions sum to the raw score."""
    return math.isclose(
        base + math.fsum(part.contribution for part in contributions), raw, rel_tol=0.0, abs_tol=tolerance
    )


def _short(value: float) -> str:
    if value == 0 or 0.001 <= abs(value) < 100_000:
        digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{min(digits, 5)}f}"
    return f"{value:.3g}"
