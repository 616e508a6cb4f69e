"""Ends this process when its parent ends, however the parent ended.

The supervisor gives each of its processes a pipe as standard input and never writes to it. End of
file is the one sign of the parent's death that works on Linux and macOS and cannot be missed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

GRACE_SECONDS = 15.0


def exit_with_parent() -> None:
    """From now on: standard input closed means terminate, and after a grace period, exit."""
    threading.Thread(target=_watch, args=(sys.stdin.fileno(),), daemon=True, name="orphan-watch").start()


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 64):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
