"""How each stack is started for its best: one worker, keep-alive to the upstream, logging off."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import machine
import peers

MODEL = "bench-model"


@dataclass
class Running:
    """A started stack. ``counted`` are the processes that serve requests; ``root`` started them all."""

    name: str
    about: str
    port: int
    root: subprocess.Popen[bytes]
    log: Path
    headers: dict[str, str] = field(default_factory=dict)
    model: str = MODEL
    counted: Callable[[int], list[int]] = machine.tree
    first_answer: float = 0.0
    stop_signal: int = signal.SIGTERM

    def groups(self) -> dict[str, list[int]]:
        return {"counted": self.counted(self.root.pid), "all": machine.tree(self.root.pid)}

    def stop(self) -> None:
        """Ends it and whatever it started."""
        started = machine.tree(self.root.pid)
        self.root.send_signal(self.stop_signal)
        try:
            self.root.wait(30)
        except subprocess.TimeoutExpired:
            self.root.kill()
            self.root.wait()
        for pid in started:
            if pid != self.root.pid and machine.command_of(pid):
                os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Place:
    """Where a stack may write, where the upstream is, and on which cores it runs."""

    folder: Path
    upstream: int
    cores: frozenset[int]


Starter = Callable[[Place], Running]


def nginx(place: Place) -> Running:
    """A bare reverse proxy: what one more hop costs at least."""
    program, port, folder = peers.nginx(), free_port(), place.folder / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    kept = "\n".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr crit; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; tcp_nodelay on; {kept}
  upstream provider {{ server 127.0.0.1:{place.upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""
    )
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return start("nginx", f"reverse proxy, {_version(program, '-v')}", place, port, command, {})


def smg(place: Place) -> Running:
    """The Rust gateway from its wheel."""
    program, port = peers.python_package("smg", peers.SMG) / "smg", free_port()
    command = [str(program), "launch", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--worker-urls", f"http://127.0.0.1:{place.upstream}", "--backend", "openai"]
    command += ["--policy", "round_robin", "--log-level", "error", "--history-backend", "none"]
    command += ["--disable-health-check", "--disable-load-monitoring", "--disable-retries"]
    command += ["--disable-circuit-breaker", "--disable-tokenizer-autoload"]
    command += ["--max-concurrent-requests", "-1", "--prometheus-port", str(free_port())]
    return start("smg", f"Rust, {peers.SMG}", place, port, command, {})


def portkey(place: Place) -> Running:
    """Portkey's gateway on Node."""
    folder, port = peers.node_package("portkey", peers.PORTKEY, peers.PORTKEY_WITHIN), free_port()
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = [shutil.which("node") or "node", str(program), f"--port={port}", "--headless"]
    headers = {
        "authorization": "Bearer bench",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{place.upstream}/v1",
    }
    return start("portkey", f"Node, {peers.PORTKEY}", place, port, command, {"NODE_ENV": "production"}, headers)


def litellm(place: Place) -> Running:
    """LiteLLM's proxy, without a database."""
    program, port, folder = peers.python_package("litellm", peers.LITELLM) / "litellm", free_port(), place.folder
    row = {
        "model_name": MODEL,
        "litellm_params": {
            "model": f"openai/{MODEL}",
            "api_base": f"http://127.0.0.1:{place.upstream}/v1",
            "api_key": "bench",
            "input_cost_per_token": 0.00000015,
            "output_cost_per_token": 0.0000006,
        },
    }
    config = folder / "litellm.yaml"
    key = f"sk-{secrets.token_urlsafe(32)}"  # a weak one it refuses to start with
    settings = {"telemetry": False, "set_verbose": False, "num_retries": 0, "request_timeout": 600}
    config.write_text(json.dumps({"model_list": [row], "litellm_settings": settings}))
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
    }
    headers = {"authorization": f"Bearer {key}"}
    return start("litellm", f"Python, {peers.LITELLM}", place, port, [*command, "--num_workers", "1"], environ, headers)


def start(
    name: str,
    about: str,
    place: Place,
    port: int,
    command: Sequence[str],
    environ: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> Running:
    """Starts a program on its cores; it may not answer yet."""
    log = place.folder / f"{name}.log"
    inherited = {
        key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH") if key in os.environ
    }
    with log.open("ab") as output, machine.on(place.cores):
        process = subprocess.Popen(  # noqa: S603 - the programs named above
            command,
            env={**inherited, **environ},
            cwd=place.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(name, about, port, process, log, dict(headers or {}))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def await_port(port: int, running: subprocess.Popen[bytes], seconds: float, log: Path) -> None:
    """Returns when something listens. Raises ``NotHere`` with the log's end if the program ends first."""
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", port)) == 0:
                return
        if running.poll() is not None or time.monotonic() > deadline:
            end = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise peers.NotHere(f"it did not start: {' / '.join(end)}")
        time.sleep(0.002)


def _version(program: str, flag: str) -> str:
    told = subprocess.run([program, flag], capture_output=True, text=True, check=False)  # noqa: S603
    return (told.stderr or told.stdout).strip().rpartition(": ")[2]
