"""Where our API process spends its time: py-spy's samples, summed by function."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import peers

_SHOWN = 45


@dataclass
class Seen:
    """Samples by function: at the top of the stack (``own``), and anywhere in it (``under``)."""

    own: Counter[str] = field(default_factory=Counter)
    under: Counter[str] = field(default_factory=Counter)

    def add(self, collapsed: str) -> None:
        for line in collapsed.splitlines():
            stack, _, count = line.rpartition(" ")
            frames = stack.split(";")
            self.own[frames[-1]] += int(count)
            for frame in set(frames):
                self.under[frame] += int(count)

    def text(self) -> str:
        """Two lists, largest share first."""
        whole = max(sum(self.own.values()), 1)
        lines = []
        for title, counts in (("own time", self.own), ("with what it calls", self.under)):
            lines.append(f"-- {title}")
            lines += [f"{count / whole:6.1%}  {frame}" for frame, count in counts.most_common(_SHOWN)]
        return "\n".join(lines)


@contextmanager
def watching(pid: int, seconds: float) -> Iterator[Seen]:
    """Samples the process for ``seconds`` while the body runs."""
    program = peers.python_package("py-spy", peers.PY_SPY) / "py-spy"
    seen = Seen()
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        command = [str(program), "record", "--pid", str(pid), "--duration", str(int(seconds)), "--rate", "500"]
        command += ["--format", "raw", "--function", "--nonblocking", "--output", file.name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603
        yield seen
        _, errors = process.communicate(timeout=seconds + 60)
        if process.returncode != 0:
            raise peers.NotHere(f"py-spy failed: {errors.decode(errors='replace').strip()[-300:]}")
        seen.add(Path(file.name).read_text())
