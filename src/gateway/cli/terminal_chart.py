"""Charts of letters: columns over time, bars for names. Pure text, as wide as it is told."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_BARS = " ▏▎▍▌▋▊▉█"
_HEIGHT = 8


def columns(labels: Sequence[str], values: Sequence[float], width: int, told: Sequence[str]) -> list[str]:
    """A column for each value, from nothing up; the highest is named at the left (``told`` is what values are
    called), the first and last labels stand below. More values than there is room for: the last ones."""
    if not values:
        return []
    room = max(width - 14, 10)
    shown = list(zip(labels, values, told, strict=True))[-room:]
    wide = max(1, min(6, room // len(shown)))
    most = max(0.0, *(value for _, value, _ in shown))
    name = next((text for _, value, text in shown if value == most), "")
    lines = []
    for row in range(_HEIGHT, 0, -1):
        cells = "".join(_cell(value, most, row) * max(wide - 1, 1) + " " * (wide > 1) for _, value, _ in shown)
        lines.append(f"{name if row == _HEIGHT else '':>12} │{cells.rstrip()}")
    span = len(shown) * wide
    first, last = shown[0][0], shown[-1][0]
    both = span > len(first) + len(last)
    below = first + last.rjust(span - len(first)) if both else last.rjust(span)
    return [*lines, f"{'0':>12} └{'─' * span}", " " * 14 + below]


def bars(rows: Sequence[tuple[str, float, str]], width: int) -> list[str]:
    """A line for each name: its bar, and what its value is called."""
    if not rows:
        return []
    names = min(max(len(name) for name, _, _ in rows), 32)
    told = max(len(text) for _, _, text in rows)
    room = max(width - names - told - 4, 8)
    most = max(0.0, *(value for _, value, _ in rows))
    return [
        f"{_cut(name, names):<{names}}  {_bar(value, most, room):<{room}}  {text:>{told}}" for name, value, text in rows
    ]


def _cell(value: float, most: float, row: int) -> str:
    eighths = round(8 * _HEIGHT * value / most) if most > 0 and value > 0 else 0
    eighths = max(eighths, 1) if value > 0 else 0
    return _EIGHTHS[min(max(eighths - 8 * (row - 1), 0), 8)]


def _bar(value: float, most: float, room: int) -> str:
    eighths = round(8 * room * value / most) if most > 0 and value > 0 else 0
    whole, rest = divmod(max(eighths, 1) if value > 0 else 0, 8)
    return "█" * whole + (_BARS[rest] if rest else "")


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
