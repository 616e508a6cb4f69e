"""Charts of letters."""

from __future__ import annotations

import pytest

from gateway.cli.terminal_chart import bars, columns


@pytest.mark.parametrize("count", [1, 2, 30, 500])
@pytest.mark.parametrize("width", [20, 80, 120])
def test_columns_fit_and_the_highest_is_the_highest(count: int, width: int) -> None:
    values = [float(at + 1) for at in range(count)]
    lines = columns([f"2026-01-{at:02d}" for at in range(count)], values, width, [f"${value}" for value in values])
    assert max(map(len, lines)) <= max(width, 35)
    assert lines[0].lstrip().startswith(f"${float(count)}")
    assert lines[0].rstrip().endswith("█")


def test_bars_are_as_long_as_their_values() -> None:
    lines = bars([("a", 4.0, "$4"), ("b", 2.0, "$2"), ("c", 0.0, "$0"), ("n" * 50, 1e-9, "$0.000000001")], 80)
    lengths = [line.count("█") for line in lines]
    assert lengths[0] == 2 * lengths[1] > 0
    assert lengths[2] == 0
    assert "▏" in lines[3]
    assert max(map(len, lines)) <= 80
    assert not bars([], 80)
    assert not columns([], [], 80, [])


def test_nothing_but_zeros_and_corrections() -> None:
    lines = columns(["a", "b"], [0.0, -1.0], 80, ["$0", "-$1"])
    assert "█" not in "".join(lines)
