"""This gateway as a user starts it, with everything on.

``ai-gateway serve`` in production mode on a directory of its own: SQLite, the embedded broker, worker
and orchestrator beside it. A key with limits of its own calls; budgets bind the key, the user, the
model and the gateway; the ledger, metrics, events and the audit trail are as they always are.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import machine
import stacks
import yaml
from peers import NotHere
from stacks import Place, Running

ROOT = Path(__file__).resolve().parents[1]
ADMIN_KEY = "admin-key-of-the-benchmark-0123456789"
_WIDE = 1_000_000_000
_BUDGET = "1000000"


class Ours:
    """``prepare`` once (database, key, budgets), then call it to start it, any number of times."""

    def __init__(self, place: Place, api_processes: int = 1) -> None:
        self._place = Place(place.folder / f"ours-{api_processes}", place.upstream, place.cores)
        self._processes = api_processes
        self._key = ""

    def prepare(self) -> None:
        """Its first start. Raises ``NotHere`` if it does not come up."""
        folder = self._place.folder
        folder.mkdir(parents=True)
        _configure(folder / "config", self._place.upstream)
        first = self()
        try:
            _await_greeting(first)
            self._key = _make_key(first.port)
            _make_budgets(first.port)
        finally:
            first.stop()

    def __call__(self) -> Running:
        place, port = self._place, stacks.free_port()
        command = [sys.executable, "-m", "gateway.cli.main", "serve", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", str(self._processes)]
        command += ["--config", str(place.folder / "config"), "--data-dir", str(place.folder / "data")]
        environ = {"PYTHONPATH": str(ROOT / "src"), "GATEWAY_ADMIN_KEY": ADMIN_KEY}
        about = "everything on; its API process" + ("es" if self._processes > 1 else "")
        running = stacks.start("ours", about, place, port, command, environ, {"authorization": f"Bearer {self._key}"})
        running.counted = api_processes
        return running


def _configure(folder: Path, upstream: int) -> None:
    """The configuration that comes with the gateway, with a provider and a priced model more, and
    without the built-in predictive models: training them would only lengthen the first start."""
    folder.mkdir()
    shutil.copyfile(ROOT / "config" / "workflows.yaml", folder / "workflows.yaml")
    providers = yaml.safe_load((ROOT / "config" / "providers.yaml").read_text())
    row = {"type": "openai_compatible", "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "bench"}
    providers["providers"]["bench"] = row
    models = yaml.safe_load((ROOT / "config" / "models.yaml").read_text())
    kept = {name: spec for name, spec in models["models"].items() if spec["provider"] != "builtin"}
    kept[stacks.MODEL] = {
        "type": "llm",
        "provider": "bench",
        "context_window": 128_000,
        "max_output_tokens": 4096,
        "price": {"input_per_million": 0.15, "output_per_million": 0.60, "source": "benchmark"},
    }
    models["models"] = kept
    models["defaults"] = {kind: name for kind, name in models["defaults"].items() if name in kept}
    (folder / "providers.yaml").write_text(yaml.safe_dump(providers))
    (folder / "models.yaml").write_text(yaml.safe_dump(models))


def _make_key(port: int) -> str:
    """A key with limits and a budget of its own, and rights for the one model."""
    made = ask(
        port,
        "POST",
        "/keys",
        {
            "name": "bench",
            "role": "developer",
            "principal": "bench",
            "models": [stacks.MODEL],
            "requests_per_minute": _WIDE,
            "tokens_per_minute": _WIDE,
            "budget": {"limit_usd": _BUDGET, "window": "month"},
        },
    )
    return str(made["key"])


def _make_budgets(port: int) -> None:
    for scope, subject in (("user", "bench"), ("model", stacks.MODEL), ("gateway", "*")):
        ask(port, "POST", "/budgets", {"scope": scope, "subject": subject, "limit_usd": _BUDGET, "window": "month"})


def _await_greeting(running: Running) -> None:
    """Returns when ``serve`` says that it is up."""
    deadline = time.monotonic() + 120
    while b"AI gateway" not in running.log.read_bytes():
        if running.root.poll() is not None or time.monotonic() > deadline:
            raise NotHere(f"it did not start: {running.log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)


def api_processes(root: int) -> list[int]:
    """The processes that answer HTTP; the supervisor, worker, orchestrator and broker are others."""
    return [pid for pid in machine.tree(root) if "gateway.cli.process api" in machine.command_of(pid)]


def calls_in_ledger(port: int, at_least: int, seconds: float = 30) -> int:
    """How many calls the ledger knows, once it knows ``at_least``, or after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        known = int(ask(port, "GET", "/usage?by=model")["calls"])
        if known >= at_least or time.monotonic() > deadline:
            return known
        time.sleep(0.2)


def ask(port: int, method: str, path: str, body: Any = None) -> Any:
    """One request as the admin."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {ADMIN_KEY}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
        return json.load(response)
