"""Runs the named jobs of this project step by step: ``.venv/bin/python tools/steps.py test``.

Standard library only. Every step is run even where an earlier one failed, the last lines say which
passed and how long each took, and a step whose folder or tool is not there counts as failed: nothing
is passed over in silence. Further arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / ".venv" / "lib" / "gateway-native"
SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True)
class Step:
    """One command. ``needs`` are paths of the checkout without which it would prove nothing."""

    title: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def pytest(folder: str, *arguments: str) -> tuple[str, ...]:
    return python("-m", "pytest", folder, *arguments)


#: As many processes as there are cores, up to four: each takes up to 2 GB, and the slowest file bounds the rest.
_BESIDE = str(min(os.cpu_count() or 1, 4))
#: A file's tests stay together, for they share what it sets up. (Integration tests fill the machine one by one.)
UNIT = Step("unit tests", pytest("tests/unit", "-n", _BESIDE, "--dist", "loadfile"), ("tests/unit",))
INTEGRATION = Step("integration tests", pytest("tests/integration"), ("tests/integration",))
JOBS: dict[str, tuple[Step, ...]] = {
    "lint": (
        Step("ruff check", python("-m", "ruff", "check", ".")),
        Step("ruff format", python("-m", "ruff", "format", "--check", ".")),
        Step("mypy", python("-m", "mypy", "src/", "tests/", "tools/")),
        Step("floors", (str(SCRIPTS / "lint-imports"),)),
    ),
    "types": (Step("mypy", python("-m", "mypy", "src/", "tests/", "tools/")),),
    "format": (
        Step("ruff, what it can mend", python("-m", "ruff", "check", "--fix-only", ".")),
        Step("ruff format", python("-m", "ruff", "format", ".")),
    ),
    "test": (UNIT, INTEGRATION),
    "unit": (UNIT,),
    "integration": (INTEGRATION,),
    "sdks": (
        # The arguments are pytest's; the installer reads none.
        Step("SDKs installed", python("tests/sdks/install.py"), ("tests/sdks",)),
        Step("official SDKs", pytest("tests/sdks"), ("tests/sdks",)),
    ),
    "coverage": (
        Step(
            "tests with coverage",
            pytest(
                "tests",
                "--ignore=tests/sdks",
                "--cov=gateway",
                "--cov-branch",
                "--cov-report=term:skip-covered",
                "--cov-report=html",
            ),
            ("tests/unit", "tests/integration"),
        ),
    ),
    "bench": (
        Step("benchmark", python("bench/run.py"), ("bench/run.py",)),
        Step("speed of the ledger", python("bench/ledger_speed.py"), ("bench/ledger_speed.py",)),
        Step("engines", python("bench/engine.py"), ("bench/engine.py",)),
        Step("how soon things happen", python("bench/engine_live.py"), ("bench/engine_live.py",)),
    ),
    "storm": (Step("storm", python("bench/storm.py"), ("bench/storm.py",)),),
    "crash": (Step("crashes at every point", python("bench/crash_points.py"), ("bench/crash_points.py",)),),
    "race": (Step("overspend race", python("bench/overspend.py"), ("bench/overspend.py",)),),
    "kills": (Step("killed at full speed", python("bench/kills.py"), ("bench/kills.py",)),),
    "away": (Step("a store away under load", python("bench/away.py"), ("bench/away.py",)),),
    "disconnects": (Step("cut streams", python("bench/disconnects.py"), ("bench/disconnects.py",)),),
}


def main(arguments: list[str]) -> int:
    """Runs a job; 0 if each of its steps passed."""
    if not arguments or arguments[0] not in JOBS:
        sys.stderr.write(f"usage: tools/steps.py {{{','.join(JOBS)}}} [argument …]\n")
        return 2
    steps, extra = JOBS[arguments[0]], tuple(arguments[1:])
    told: list[tuple[bool, str]] = []
    for step in steps:
        missing = [path for path in (*step.needs, step.command[0]) if not (ROOT / path).exists()]
        sys.stdout.write(f"\n==> {step.title}\n")
        sys.stdout.flush()
        if missing:
            told.append((False, f"{step.title}: not run, {', '.join(missing)} is not here"))
            continue
        started = time.monotonic()
        status = subprocess.run((*step.command, *extra), cwd=ROOT, env=environment(), check=False).returncode  # noqa: S603
        took = f"{time.monotonic() - started:.1f} s"
        told.append((status == 0, f"{step.title}: {'passed' if status == 0 else f'failed (status {status})'}, {took}"))
    sys.stdout.write("\n" + "\n".join(f"{'ok  ' if passed else 'FAIL'} {words}" for passed, words in told) + "\n")
    return 0 if all(passed for passed, _ in told) else 1


def environment() -> dict[str, str]:
    """Ours, with the OpenMP library that set-up may have put aside."""
    environ = dict(os.environ)
    if NATIVE.is_dir():
        environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(NATIVE), environ.get("LD_LIBRARY_PATH", "")]))
    return environ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
