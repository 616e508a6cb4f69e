"""Runs one foreign program and ends it when whoever started it is gone.

Standard library only, started by path (``python -I guard.py PROGRAM ARG…``) so that it costs some
ten milliseconds and imports nothing of the gateway. Its standard input is a pipe held open by the
parent: the first line gives the number of bytes that follow for the program's own standard input
(its configuration, kept off the command line), then silence; end of file means the parent died,
however it died, and the program is stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import types


def main(arguments: list[str]) -> int:
    """Runs ``arguments`` until it ends or standard input does; returns its exit status."""
    source = sys.stdin.buffer
    size = int(source.readline() or b"0")
    configuration = source.read(size)
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE)  # noqa: S603 - the parent chose the program
    if child.stdin is not None:
        child.stdin.write(configuration)
        child.stdin.close()

    def stop(_number: int = 0, _frame: types.FrameType | None = None) -> None:
        if child.poll() is None:
            child.terminate()

    def watch() -> None:
        while source.read(1):
            continue
        stop()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
