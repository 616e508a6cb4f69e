"""Charts as inline SVG: lines, percentile bands, stacked areas, bars, points, heat maps. No script, no file.

A chart is what a step put under ``plots``: ``{kind, title, x, series, unit, x_title?, log?, marks?}``.
Colours come from the page's style sheet, so that a chart reads in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

WIDTH, HEIGHT = 860, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 24, 34


def chart(plot: Mapping[str, Any]) -> str:
    """The chart as an ``svg`` element; an empty text where there is nothing to draw."""
    kind, x = plot.get("kind", "line"), list(plot.get("x") or ())
    series = plot.get("series") or {}
    if not x or not series:
        return ""
    if kind == "heatmap":
        return _heatmap(plot)
    if kind == "bar":
        return _bars(plot)
    names = list(series)
    if kind == "band" and not any("%" in name for name in names):
        return _frame(plot, _Stack(x, {name: _numbers(series[name]) for name in names}), "areas")
    return _frame(plot, _Plane(x, {name: _numbers(series[name]) for name in names}, log=bool(plot.get("log"))), kind)


class _Plane:
    """Data to pixels."""

    def __init__(self, x: Sequence[Any], series: Mapping[str, list[float]], *, log: bool = False) -> None:
        self.labels = [str(item) for item in x]
        self.places = _places(x)
        self.series = series
        values = [value for column in series.values() for value in column if math.isfinite(value)]
        self.log = log and min(values, default=0) > 0
        low, high = min(values, default=0.0), max(values, default=1.0)
        if self.log:
            low, high = math.log10(low), math.log10(high)
        if high - low < 1e-12:
            low, high = low - 0.5, high + 0.5
        self.ticks = _log_ticks(low, high) if self.log else _ticks(low, high)
        self.low, self.high = min(low, self.ticks[0]), max(high, self.ticks[-1])

    def px(self, at: float) -> float:
        """The pixel of a place from 0 to 1."""
        return _LEFT + at * (WIDTH - _LEFT - _RIGHT)

    def py(self, value: float) -> float:
        """The pixel of a value."""
        shown = math.log10(value) if self.log else value
        return HEIGHT - _BOTTOM - (shown - self.low) / (self.high - self.low) * (HEIGHT - _TOP - _BOTTOM)

    def path(self, name: str) -> str:
        """A line through a series; gaps where there is no value."""
        parts, pen = [], "M"
        for place, value in zip(self.places, self.series[name], strict=False):
            if not math.isfinite(value):
                pen = "M"
                continue
            parts.append(f"{pen}{self.px(place):.1f} {self.py(value):.1f}")
            pen = "L"
        return "".join(parts)

    def area(self, lower: Sequence[float], upper: Sequence[float]) -> str:
        """The closed shape between two columns."""
        there = [f"{self.px(at):.1f} {self.py(value):.1f}" for at, value in zip(self.places, upper, strict=False)]
        back = [f"{self.px(at):.1f} {self.py(value):.1f}" for at, value in zip(self.places, lower, strict=False)]
        return "M" + "L".join(there + back[::-1]) + "Z"


class _Stack(_Plane):
    """Columns on top of each other."""

    def __init__(self, x: Sequence[Any], series: Mapping[str, list[float]]) -> None:
        total = [0.0] * len(x)
        self.layers: list[tuple[str, list[float], list[float]]] = []
        for name, column in series.items():
            upper = [under + max(value, 0.0) for under, value in zip(total, column, strict=False)]
            self.layers.append((name, total, upper))
            total = upper
        super().__init__(x, {"": [0.0] * len(x), " ": total})


def _frame(plot: Mapping[str, Any], plane: _Plane, kind: str) -> str:
    inside = [_axes(plane, plot)]
    names = list(plot["series"])
    if isinstance(plane, _Stack):
        inside += [
            f'<path class="fill c{at % 6}" d="{plane.area(lower, upper)}"/>'
            for at, (_, lower, upper) in enumerate(plane.layers)
        ]
    elif kind == "band":
        for at in range(len(names) // 2):
            lower, upper = plane.series[names[at]], plane.series[names[-1 - at]]
            inside.append(f'<path class="band" d="{plane.area(lower, upper)}"/>')
        if len(names) % 2:
            inside.append(f'<path class="line c0" d="{plane.path(names[len(names) // 2])}"/>')
    elif kind == "scatter":
        for at, name in enumerate(names):
            inside += [
                f'<circle class="point c{at % 6}" cx="{plane.px(place):.1f}" cy="{plane.py(value):.1f}" r="3.4">'
                f"<title>{escape(label)}: {_short(value)}</title></circle>"
                for place, value, label in zip(plane.places, plane.series[name], plane.labels, strict=False)
                if math.isfinite(value)
            ]
    else:
        inside += [f'<path class="line c{at % 6}" d="{plane.path(name)}"/>' for at, name in enumerate(names)]
    return _svg(plot, inside) + _legend(names, "band" if kind == "band" else kind)


def _axes(plane: _Plane, plot: Mapping[str, Any]) -> str:
    parts = []
    for tick in plane.ticks:
        shown = 10**tick if plane.log else tick
        y = plane.py(shown)
        if _TOP - 1 <= y <= HEIGHT - _BOTTOM + 1:
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(shown)}</text>')
    for place, label in _x_ticks(plane, plot["x"]):
        x = plane.px(place)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(label)}</text>')
    unit, across = str(plot.get("unit") or ""), str(plot.get("x_title") or "")
    if unit:
        parts.append(f'<text class="unit" x="{_LEFT - 52}" y="{_TOP - 12}">{escape(unit)}</text>')
    if across:
        parts.append(
            f'<text class="unit" x="{WIDTH - _RIGHT}" y="{HEIGHT - 1}" text-anchor="end">{escape(across)}</text>'
        )
    return "".join(parts)


def _x_ticks(plane: _Plane, x: Sequence[Any]) -> list[tuple[float, str]]:
    """(place, label) of some six ticks: round numbers where the axis is numeric."""
    if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in x) and x[-1] > x[0]:
        low, high = float(x[0]), float(x[-1])
        return [((tick - low) / (high - low), _short(tick)) for tick in _ticks(low, high) if low <= tick <= high]
    step = max(len(plane.labels) // 7, 1)
    chosen = [at for at in range(0, len(plane.labels), step) if plane.places[at] < 0.97]
    dates = [plane.labels[at] for at in chosen]
    return [
        (plane.places[at], label[:7] if len(label) == 10 and label[4:5] == "-" else label)
        for at, label in zip(chosen, dates, strict=True)
    ]


def _bars(plot: Mapping[str, Any]) -> str:
    labels = [str(item) for item in plot["x"]]
    name, column = next(iter(plot["series"].items()))
    values = _numbers(column)
    numeric = all(isinstance(item, (int, float)) for item in plot["x"])
    plane = _Plane(range(len(labels)), {name: [*values, 0.0]})
    slot = (WIDTH - _LEFT - _RIGHT) / len(labels)
    zero = plane.py(0.0)
    inside = []
    for tick in plane.ticks:
        y = plane.py(tick)
        inside.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        inside.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    step = max(math.ceil(len(labels) / (12 if numeric else 24)), 1)
    for at, (label, value) in enumerate(zip(labels, values, strict=False)):
        x, y = _LEFT + at * slot, plane.py(value)
        inside.append(
            f'<rect class="bar" x="{x + slot * 0.1:.1f}" y="{min(y, zero):.1f}" width="{slot * 0.8:.1f}" '
            f'height="{max(abs(zero - y), 0.6):.1f}"><title>{escape(label)}: {_short(value)}</title></rect>'
        )
        if at % step == 0:
            inside.append(
                f'<text class="tick" x="{x + slot / 2:.1f}" y="{HEIGHT - 14}" text-anchor="middle">'
                f"{escape(label[:9])}</text>"
            )
    if numeric and len(labels) > 1:
        inside += _marks(plot, plane)
    across = str(plot.get("x_title") or "")
    inside.append(f'<text class="unit" x="{WIDTH - _RIGHT}" y="{HEIGHT - 1}" text-anchor="end">{escape(across)}</text>')
    return _svg(plot, inside)


def _marks(plot: Mapping[str, Any], plane: _Plane) -> list[str]:
    """Vertical lines at stated places of a numeric axis."""
    first, last = float(plot["x"][0]), float(plot["x"][-1])
    half = (last - first) / (len(plot["x"]) - 1) / 2
    parts = []
    for at, mark in enumerate(plot.get("marks") or ()):
        share = (float(mark["x"]) - first + half) / (last - first + 2 * half)
        if 0 <= share <= 1:
            x = plane.px(share)
            parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
            parts.append(
                f'<text class="tick" x="{x + 3:.1f}" y="{_TOP + 10 + 12 * at}">{escape(str(mark["label"]))}</text>'
            )
    return parts


def _heatmap(plot: Mapping[str, Any]) -> str:
    labels = [str(item) for item in plot["x"]]
    rows = next(iter(plot["series"].values()))
    left, top, size = 52, 30, min(26.0, (WIDTH - 60) / max(len(labels), 1))
    inside = []
    for at, (name, row) in enumerate(zip(labels, rows, strict=False)):
        y = top + at * size
        inside.append(
            f'<text class="tick" x="{left - 5}" y="{y + size / 2 + 4:.1f}" text-anchor="end">{escape(name[:7])}</text>'
        )
        inside.append(
            f'<text class="tick" transform="translate({left + at * size + size / 2 + 3:.1f} {top - 5}) rotate(-60)">'
            f"{escape(name[:7])}</text>"
        )
        for across, value in enumerate(_numbers(row)):
            share = min(abs(value), 1.0)
            inside.append(
                f'<rect class="{"warm" if value >= 0 else "cold"}" fill-opacity="{share:.2f}" '
                f'x="{left + across * size:.1f}" '
                f'y="{y:.1f}" width="{size - 1:.1f}" height="{size - 1:.1f}"><title>{escape(name)} / '
                f"{escape(labels[across])}: {_short(value)}</title></rect>"
            )
    height = int(top + len(labels) * size + 6)
    title = escape(str(plot.get("title", "")))
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">{"".join(inside)}</svg>'


def _svg(plot: Mapping[str, Any], inside: Sequence[str]) -> str:
    title = escape(str(plot.get("title", "")))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(inside)}</svg>'


def _legend(names: Sequence[str], kind: str) -> str:
    if kind == "band":
        middle = names[len(names) // 2]
        bands = f'<i class="swatch wide"></i>{escape(names[0])} to {escape(names[-1])}'
        return f'<p class="legend"><i class="swatch c0"></i>{escape(middle)} {bands}</p>'
    if len(names) < 2:
        return ""
    items = "".join(f'<span><i class="swatch c{at % 6}"></i>{escape(name)}</span>' for at, name in enumerate(names))
    return f'<p class="legend">{items}</p>'


def _places(x: Sequence[Any]) -> list[float]:
    """Where each label stands from 0 to 1: by its date or number, else one after another."""
    try:
        values = [float(date.fromisoformat(str(item)[:10]).toordinal()) for item in x]
    except ValueError:
        numeric = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in x)
        values = [float(item) for item in x] if numeric else [float(at) for at in range(len(x))]
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]


def _numbers(column: Sequence[Any]) -> list[float]:
    return [float(value) if value is not None else math.nan for value in column]


def _ticks(low: float, high: float) -> list[float]:
    span = high - low
    base = 10 ** math.floor(math.log10(span / 4))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if span / (base * factor) <= 6)
    first = math.floor(low / step)
    return [round((first + at) * step, 12) for at in range(int(math.ceil(high / step) - first) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    found = [
        math.log10(factor * 10**power) for power in range(math.floor(low), math.ceil(high) + 1) for factor in (1, 2, 5)
    ]
    inside = [tick for tick in found if low - 0.01 <= tick <= high + 0.3]
    return inside or [low, high]


def _short(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 10_000 or abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:,.4g}"
