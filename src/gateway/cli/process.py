"""The programs that the supervisor starts, each a process: ``python -m gateway.cli.process ROLE``.

They read the same environment as everything else and do nothing that ``ai-gateway serve``,
``worker`` and ``orchestrate`` would not do. Kept apart from the command line so that a child does
not import Typer and Rich.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import types
from importlib import import_module

from gateway import bootstrap, upkeep, work_process
from gateway.cli.orphan import exit_with_parent
from gateway.errors import GatewayError
from gateway.settings import Settings, settings_from_process


def api(settings: Settings, descriptor: int) -> None:
    """Serve HTTP on a listening socket inherited from the supervisor."""
    # Loaded by name: only this role pays for the web framework.
    import_module("gateway.api_process").run(bootstrap.make_core(settings), descriptor)


def worker(settings: Settings) -> None:
    """Run steps until told to stop."""
    work_process.run_worker(settings)


def orchestrate(settings: Settings) -> None:
    """Sweep until told to stop."""
    work_process.run_orchestrator(settings, _stop_event())


def prepare(settings: Settings) -> None:
    """Bring the schema up to date and see to the admin key; prints one line of JSON."""
    sys.stdout.write(json.dumps(upkeep.prepare(settings)) + "\n")


def train(settings: Settings) -> None:
    """Train the built-in models that are not registered yet."""
    upkeep.train_missing(settings, lambda text: print(text, flush=True))


def local_llm(settings: Settings) -> None:
    """Hold the embedded language model's server until told to stop."""
    work_process.run_local_llm(settings, _stop_event())


def main(arguments: list[str]) -> int:
    """Runs one role; a refusal of ours becomes one line on standard error and status 1."""
    parser = argparse.ArgumentParser(prog="gateway.cli.process")
    parser.add_argument("role", choices=["api", "worker", "orchestrate", "prepare", "train", "local-llm"])
    parser.add_argument("--dev", action="store_true")
    parser.add_argument("--fd", type=int, default=-1)
    given = parser.parse_args(arguments)
    if os.environ.get("GATEWAY_SUPERVISED") and given.role != "prepare":
        exit_with_parent()
    try:
        settings = settings_from_process(dev=given.dev)
        if given.role == "api":
            api(settings, given.fd)
        else:
            {
                "worker": worker,
                "orchestrate": orchestrate,
                "prepare": prepare,
                "train": train,
                "local-llm": local_llm,
            }[given.role](settings)
    except GatewayError as error:
        sys.stderr.write(f"{error.message}{f' ({error.mend})' if error.mend else ''}\n")
        return 1
    return 0


def _stop_event() -> threading.Event:
    event = threading.Event()

    def stop(_number: int, _frame: types.FrameType | None) -> None:
        event.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return event


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
