"""Writers of one SQLite file take turns: one at a time, nobody passed over, the dead let go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.ledger_house import together
from gateway.store.turns import WriterTurns

SOURCE = Path(__file__).resolve().parents[3] / "src"
GREEDY = """
import sys
from pathlib import Path
from gateway.store.turns import WriterTurns
turns = WriterTurns(Path(sys.argv[1]))
with turns.turn():
    print("mine", flush=True)
    if sys.argv[2] == "hold":
        sys.stdin.read()
while True:
    with turns.turn():
        sum(range(2000))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def turns(file: Path) -> Iterator[WriterTurns]:
    made = WriterTurns(file)
    yield made
    made.close()


def other_process(file: Path, what: str) -> subprocess.Popen[str]:
    """Another writer of the file, which has had its first turn."""
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", GREEDY, str(file), what]
    started = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "mine\n"
    return started


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)


def test_threads_take_turns(turns: WriterTurns) -> None:
    inside: list[int] = []

    def work(number: int) -> bool:
        alone = True
        for _ in range(50):
            with turns.turn():
                inside.append(number)
                alone = alone and len(inside) == 1
                inside.remove(number)
        return alone

    assert together(work, 8) == [True] * 8


def test_a_greedy_process_passes_nobody_over(turns: WriterTurns, file: Path) -> None:
    greedy = [other_process(file, "go") for _ in range(2)]
    try:
        for _ in range(100):
            with turns.turn():
                pass
    finally:
        for process in greedy:
            end(process)


def test_who_dies_in_its_turn_lets_go(turns: WriterTurns, file: Path) -> None:
    holder = other_process(file, "hold")
    end(holder)
    with turns.turn():
        pass


def test_a_database_in_memory_has_no_file() -> None:
    turns = WriterTurns(None)
    with turns.turn():
        pass
    turns.close()
