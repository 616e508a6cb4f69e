"""Supervised processes: restarted when they die, gone when their parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.cli.children import Child, child_environment
from gateway.cli.embedded_broker import GUARD, start_broker

FOREVER = [sys.executable, "-c", "import time\nwhile True: time.sleep(1)"]


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except ProcessLookupError:  # it ended between the opening of its file and the reading
        return False
    except FileNotFoundError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not Path("/proc").is_dir()


def test_a_killed_child_is_started_again() -> None:
    child = Child("sleeper", FOREVER, os.environ)
    child.start()
    try:
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: child.watch() is not None)
        until(lambda: child.watch() is None and child.pid not in (None, first))
        assert child.restarts == 1
    finally:
        child.stop()
    assert child.pid is None


def test_a_child_that_is_wanted_once_is_not_started_again() -> None:
    child = Child("once", [sys.executable, "-c", ""], os.environ, once=True)
    child.start()
    until(lambda: child.returncode is not None)
    assert child.watch() is None
    assert child.watch() is None
    assert child.restarts == 0
    child.stop()


def test_a_foreign_program_dies_with_a_parent_killed_outright(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = f"import os, time, pathlib; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(600)"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time\n"
            "from pathlib import Path\n"
            "from gateway.cli.children import Child\n"
            f"Child('x', [sys.executable, '-I', {str(GUARD)!r}, sys.executable, '-c', {program!r}],"
            " os.environ, configuration=b'').start()\n"
            "time.sleep(600)",
        ],
        env=child_environment(os.environ, {}),
    )
    until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    grandchild = int(pid_file.read_text())
    assert alive(grandchild)
    parent.kill()
    parent.wait()
    until(lambda: not alive(grandchild))


def test_the_embedded_broker_asks_for_its_password(tmp_path: Path) -> None:
    broker = start_broker(tmp_path, os.environ, tmp_path / "broker.log")
    assert broker is not None
    try:
        assert broker.wait()
        listing = Path(f"/proc/{broker.child.pid}/cmdline")
        if listing.exists():
            password = broker.url.split(":")[2].split("@")[0]
            assert password.encode() not in listing.read_bytes()
    finally:
        broker.child.stop()
