"""What the steps that call a predictive model share: one call for all rows, options, thinned plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.risk.features import FeatureTable
from gateway.serving.predict import PredictAnswer, PredictRequest
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import fact

#: Rows in one call; the newest are kept.
MOST_ROWS = 10_000
#: Points in one plot.
MOST_POINTS = 500


async def ask(
    ctx: StepContext,
    task_type: str,
    inputs: dict[str, Any],
    *,
    explain: bool,
    parameters: Mapping[str, Any] | None = None,
) -> PredictAnswer:
    """One call of the step's model: that of ``model_config``, else the default of the task type.

    ``parameters`` are added to those of ``model_config``.
    """
    config = ctx.model_config or {}
    request = PredictRequest(
        model=ctx.model_for(task_type),
        inputs=inputs,
        version=config.get("version"),
        alias=config.get("alias"),
        explain=explain,
        parameters={**(config.get("parameters") or {}), **(parameters or {})},
    )
    return await ctx.predict.predict(ctx.caller, request, ctx.call(0), provider=config.get("provider"))


def named_rows(features: FeatureTable, rows: NDArray[np.intp] | None = None) -> dict[str, Any]:
    """The feature rows by name: whatever order the model has them in, none is taken for another."""
    values = features.values if rows is None else features.values[rows]
    return {"features": [dict(zip(features.names, row, strict=True)) for row in values.tolist()]}


def options_of(data: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """The step's ``options``. ``ValidationFailed`` for another type or an unknown option."""
    options = data.get("options")
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValidationFailed(
            "input_data.options is not an object",
            mend=f"it may hold: {', '.join(known)}",
            param="input_data.options",
        )
    for name in options:
        if name not in known:
            raise ValidationFailed(
                f"input_data.options.{str(name)[:80]} is no option of this step",
                mend=f"it may hold: {', '.join(known)}",
                param=f"input_data.options.{str(name)[:80]}",
            )
    return dict(options)


def whole_number(value: Any, place: str, low: int, high: int) -> int:
    """``value`` as an int from ``low`` to ``high``; ``ValidationFailed`` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationFailed(
            f"{place} is not a whole number from {low} to {high}", mend=f"give one from {low} to {high}", param=place
        )
    return value


def told(name: str, value: float | int | str, unit: str = "", source: str = "") -> dict[str, Any]:
    """One line of the step's ``facts``, with the model version it comes from."""
    return {**fact(name, value, unit), **({"source": source} if source else {})}


def peaks(values: Sequence[float], most: int = MOST_POINTS) -> NDArray[np.intp]:
    """At most ``most`` places: the highest value of each of that many equal stretches."""
    count = len(values)
    if count <= most:
        return np.arange(count)
    edges = np.linspace(0, count, most + 1).round().astype(int)
    array = np.asarray(values)
    return np.array(
        [
            start + int(array[start:end].argmax())
            for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ],
        dtype=np.intp,
    )
