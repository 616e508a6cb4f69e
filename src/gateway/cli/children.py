"""One supervised operating-system process: started, watched, restarted, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import gateway

SOURCE = Path(gateway.__file__).resolve().parents[1]


def child_environment(environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that finds this package however the parent found it."""
    paths = [str(SOURCE), *filter(None, [environ.get("PYTHONPATH", "")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **extra}


class Child:
    """A process that is restarted when it ends unasked: after 0.2 s, then twice as long, at most 5 s."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        log: Path | None = None,
        pass_fds: tuple[int, ...] = (),
        configuration: bytes | None = None,
        once: bool = False,
    ) -> None:
        """``log``: where output goes (``None``: the parent's own); ``configuration``: bytes for a
        program under ``guard.py``; ``once``: never restarted."""
        self.name = name
        self.once = once
        self.restarts = 0
        self._command = list(command)
        self._environ = dict(environ)
        self._log = log
        self._pass_fds = pass_fds
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None
        self._retry_at = 0.0
        self._started_at = 0.0
        self._wanted = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def returncode(self) -> int | None:
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Starts the process in a session of its own, so that a Ctrl-C reaches the parent alone."""
        self._wanted = True
        self._started_at = time.monotonic()
        output: IO[bytes] | None = self._log.open("ab") if self._log else None
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                self._command,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=self._pass_fds,
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()
        if self._configuration is not None and self._process.stdin is not None:
            self._process.stdin.write(b"%d\n" % len(self._configuration) + self._configuration)
            self._process.stdin.flush()

    def watch(self) -> str | None:
        """Restarts the process if it ended unasked and its pause is over. Returns what happened, for
        the log, or ``None``."""
        if not self._wanted or self._process is None or self._process.poll() is None:
            return None
        if self.once:
            self._wanted = False
            return None
        now = time.monotonic()
        if self._retry_at == 0.0:
            if now - self._started_at > 60:
                self.restarts = 0
            self._retry_at = now + min(5.0, 0.2 * 2**self.restarts)
            return f"{self.name} ended with status {self._process.returncode}; starting it again"
        if now >= self._retry_at:
            self._retry_at = 0.0
            self.restarts += 1
            self._close_pipe()
            self.start()
        return None

    def restart(self) -> None:
        """Stops and starts the process (its code or configuration changed)."""
        self.stop()
        self.start()

    def terminate(self) -> None:
        """Asks the process to end; does not wait."""
        self._wanted = False
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, grace: float = 12.0) -> None:
        """Asks, waits ``grace`` seconds, then kills."""
        self.terminate()
        if self._process is None:
            return
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # the process is gone: nobody reads it
                self._process.stdin.close()


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules in a new interpreter."""
    return [sys.executable, "-m", module, *arguments]
