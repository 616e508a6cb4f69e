"""``scenario_generation``: joint economic paths from an analysis; percentiles here, the paths as an artifact."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.errors import ValidationFailed
from gateway.risk import scenarios
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import fact, plain
from gateway.workflows.workflow import Workflow

#: The workflow: what it says stands in config/workflows.yaml too, where an operator may change it.
WORKFLOW = Workflow("scenario_generation", name="Scenario Generation Workflow")
_analysed = WORKFLOW.step("market_analysis", "data_analysis", {"market_data": WORKFLOW.input.market_data})
_drawn = WORKFLOW.step("scenario_gen", "scenario_generation", {"analysis": _analysed.result}, after=[_analysed])
WORKFLOW.step("risk_assessment", "risk_assessment", {"scenarios": _drawn.scenarios}, after=[_drawn])

_PERCENTILES = (5, 25, 50, 75, 95)
_TITLES = {
    "equity": ("Equity (start = 1)", "×"),
    "short_rate": ("Short rate", "%"),
    "fx": ("EUR/USD", "USD"),
    "inflation": ("Inflation, annual", "%"),
}
DEFAULT_PATHS, DEFAULT_YEARS, DEFAULT_SEED = 1_000, 10, 20_260_101


async def generate(context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """``scenarios`` (parameters, percentiles, tests, the paths' artifact), ``facts`` and ``plots``."""
    analysis = data["analysis"]
    calibration = analysis.get("calibration", analysis) if isinstance(analysis, Mapping) else None
    given = scenarios.parameters_of(calibration)
    paths = _whole(data, "paths", DEFAULT_PATHS, 10, scenarios.MOST_PATHS)
    years = _whole(data, "years", DEFAULT_YEARS, 1, scenarios.MOST_YEARS)
    seed = _whole(data, "seed", DEFAULT_SEED, 0, 2**63 - 1)
    measure = data.get("measure", "real_world")
    if measure not in scenarios.MEASURES:
        raise ValidationFailed(f"measure: one of {', '.join(scenarios.MEASURES)}", param="input_data.measure")
    stresses = data.get("stresses", list(scenarios.STRESSES))
    if not isinstance(stresses, list) or any(name not in scenarios.STRESSES for name in stresses):
        raise ValidationFailed(f"stresses: a list of {', '.join(scenarios.STRESSES)}", param="input_data.stresses")
    context.progress(0.1, f"drawing {paths} paths of {years} years")
    drawn = await asyncio.to_thread(scenarios.simulate, given, paths=paths, years=years, seed=seed, measure=measure)
    context.raise_if_cancelled()
    context.progress(0.6, "storing the paths")
    reference = await asyncio.to_thread(
        lambda: context.artifacts.put(_parquet(drawn), "application/vnd.apache.parquet")
    )
    tests = scenarios.martingale_tests(drawn, given) if measure == "risk_neutral" else []
    bands = {name: np.percentile(values, _PERCENTILES, axis=0) for name, values in drawn.named().items()}
    terminal = drawn.equity[:, -1]
    mean, error = scenarios.mean_and_error(terminal)
    made = {
        "scenarios": {
            "artifact": msgspec.to_builtins(reference),
            "paths": paths,
            "years": years,
            "steps_per_year": scenarios.MONTHS,
            "seed": seed,
            "measure": measure,
            "calibration": calibration,
            "percentiles": {
                name: {str(level): band[at][:: scenarios.MONTHS] for at, level in enumerate(_PERCENTILES)}
                for name, band in bands.items()
            },
            "terminal": {"equity_mean": mean, "equity_standard_error": error},
            "martingale_tests": tests,
            "stresses": [scenarios.stressed(given, name) for name in stresses],
        },
        "facts": [
            fact("paths", paths),
            fact("years", years),
            fact("median equity at the end", float(np.median(terminal)), "×"),
            fact("5 % quantile of equity at the end", float(np.quantile(terminal, 0.05)), "×"),
            fact("95 % quantile of equity at the end", float(np.quantile(terminal, 0.95)), "×"),
            fact("mean short rate at the end", 100 * float(drawn.short_rate[:, -1].mean()), "%"),
            fact("mean inflation at the end", 100 * float(drawn.inflation[:, -1].mean()), "%"),
            fact("median EUR/USD at the end", float(np.median(drawn.fx[:, -1])), "USD"),
            *([fact("martingale tests passed", sum(bool(test["passed"]) for test in tests))] if tests else []),
        ],
        "plots": {name: _plot(name, band) for name, band in bands.items()},
    }
    described: dict[str, Any] = plain(made)
    return described


def paths_of(content: bytes) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """The stored paths by factor, shape (P, M+1). ``ValidationFailed`` for another file."""
    try:
        table = pq.read_table(io.BytesIO(content))
        columns = [table.column(name).to_numpy() for name in table.column_names]
        shape = (int(table.column("path").to_numpy()[-1]) + 1, -1)
    except (pa.ArrowInvalid, KeyError, IndexError, ValueError) as error:
        raise ValidationFailed("the artifact holds no scenarios", mend="run scenario_generation again") from error
    return {
        name: column.reshape(shape)
        for name, column in zip(table.column_names, columns, strict=True)
        if name not in ("path", "month")
    }


def _parquet(drawn: scenarios.Paths) -> bytes:
    count, months = drawn.equity.shape
    columns = {
        "path": pa.array(np.repeat(np.arange(count, dtype=np.int32), months)),
        "month": pa.array(np.tile(np.arange(months, dtype=np.int32), count)),
    } | {name: pa.array(values.ravel()) for name, values in drawn.named().items()}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def _plot(name: str, band: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    title, unit = _TITLES[name]
    scale = 100 if unit == "%" else 1
    return {
        "kind": "band",
        "title": f"{title}: percentiles of the paths",
        "x": [round(month / scenarios.MONTHS, 4) for month in range(band.shape[1])],
        "x_title": "years",
        "series": {f"{level} %": scale * band[at] for at, level in enumerate(_PERCENTILES)},
        "unit": unit,
    }


def _whole(data: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = data.get(name, default)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationFailed(f"{name}: a whole number from {low} to {high}", param=f"input_data.{name}")
    return value
