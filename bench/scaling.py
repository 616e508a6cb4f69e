"""Two API processes beside one, on all the cores this run may use.

Provider and load need a part of the same cores, and what they take, no gateway can use. So they are the leanest that
can be had: nginx that returns one answer, and wrk, both from the system's packages.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

import load
import machine
import ours
import peers
import stacks
import upstream

_CONNECTIONS = 32
#: Seconds of load before any that count: both processes are up, and have seen the key.
_WARM = 3
_SCRIPT = """
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.body = %s
%s
"""


def lean() -> str:
    """Path of wrk. Raises ``NotHere`` where it or nginx is missing."""
    peers.nginx()
    found = shutil.which("wrk")
    if found is None:
        raise peers.NotHere("wrk is not installed (apt-get install wrk)")
    return found


def measure(folder: Path, cores: frozenset[int], seconds: float, rounds: int) -> dict[str, Any]:
    """Requests a second and CPU time a request, by the number of API processes; raises ``NotHere``."""
    wrk, folder = lean(), folder / "scaling"
    folder.mkdir()
    far = _provider(folder, cores)
    try:
        return {str(number): _of(number, wrk, folder, far.port, cores, seconds, rounds) for number in (1, 2)}
    finally:
        far.stop()


def _of(
    number: int, wrk: str, folder: Path, provider: int, cores: frozenset[int], seconds: float, rounds: int
) -> dict[str, Any]:
    own = ours.Ours(stacks.Place(folder, provider, cores), number)
    own.prepare()
    running = own()
    try:
        stacks.await_port(running.port, running.root, 60, running.log)
        command = _load(wrk, folder, running)
        _ask(command, _WARM)
        results = []
        for _ in range(rounds):
            before = machine.cpu_seconds(running.groups()["counted"])
            told = _ask(command, max(1, int(seconds)))
            spent = machine.cpu_seconds(running.groups()["counted"]) - before
            results.append({**told, "cpu_us": spent / told["requests"] * 1e6})
    finally:
        running.stop()
    return {
        "rate": statistics.median(one["rate"] for one in results),
        "cpu_us": statistics.median(one["cpu_us"] for one in results),
        "failures": sum(one["failures"] for one in results),
    }


def _provider(folder: Path, cores: frozenset[int]) -> stacks.Running:
    """nginx that returns the answer of ``upstream``."""
    program, port = peers.nginx(), stacks.free_port()
    answer = upstream.PLAIN_BODY.decode()  # it has no quote, backslash or dollar of nginx's
    kept = "\n".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "provider.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; tcp_nodelay on; default_type application/json; {kept}
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{answer}'; }} }}
}}
"""
    )
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "provider.conf")]
    running = stacks.start("provider", "nginx", stacks.Place(folder, port, cores), port, command, {})
    stacks.await_port(port, running.root, 10, running.log)
    return running


def _load(wrk: str, folder: Path, running: stacks.Running) -> list[str]:
    """The command of the load, but for how long."""
    body = json.dumps(load.question(running.model))
    headers = {"content-type": "application/json", **running.headers}
    script = folder / "load.lua"
    script.write_text(
        _SCRIPT
        % (json.dumps(body), "\n".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()))
    )
    url = f"http://127.0.0.1:{running.port}"
    return [wrk, "--threads", "1", "--connections", str(_CONNECTIONS), "--script", str(script), url]


def _ask(command: list[str], seconds: int) -> dict[str, Any]:
    """What wrk saw in so many seconds."""
    told = subprocess.run(  # noqa: S603 - the load named above
        [command[0], "--duration", f"{seconds}s", *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds + 60,
    ).stdout
    requests = re.search(r"(\d+) requests in", told)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", told)
    if requests is None or rate is None:
        raise RuntimeError(f"wrk says: {told[-300:]}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    failures = int(bad[1]) if bad else 0
    failures += sum(int(number) for number in lost.groups()) if lost else 0
    return {"requests": int(requests[1]), "rate": float(rate[1]), "failures": failures}
