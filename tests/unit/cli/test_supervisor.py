"""While the API starts: killed processes come again, for a while; what ends by itself is told at once."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import pytest

from gateway.cli import supervisor as module
from gateway.cli.supervisor import QUICK_DEATHS, ServiceOptions, Supervisor
from gateway.errors import Unavailable
from gateway.settings import Settings

#: Stands for ``gateway.cli.process``: an API that dies as often as the file ``deaths`` says, then answers.
ROLES = """
import http.server, os, pathlib, signal, socket, sys
starts = pathlib.Path(os.environ["STARTS"])
if sys.argv[1] == "prepare":
    print("{}")
    sys.exit()
number = len(starts.read_text()) if starts.exists() else 0
with starts.open("a") as file:
    file.write("x")
if number < int(os.environ["DEATHS"]):
    if "BY_ITSELF" in os.environ:
        sys.exit(3)
    os.kill(os.getpid(), signal.SIGKILL)

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

server = http.server.HTTPServer(("127.0.0.1", 0), Health, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
server.serve_forever()
"""


class Beginning:
    """Starts of the stand-in, and what the supervisor said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = folder / "starts"
        self.said: list[str] = []

    def supervisor(self, deaths: int, **more: str) -> Supervisor:
        environ = {
            **os.environ,
            **more,
            "PYTHONPATH": str(self.folder),
            "STARTS": str(self.starts),
            "DEATHS": str(deaths),
            "GATEWAY_EXECUTOR": "inline",
            "GATEWAY_DATA_DIR": str(self.folder / "data"),
            "AI_GATEWAY_PORT": "0",
        }
        options = ServiceOptions(roles=("api",), local_llm=False)
        return Supervisor(Settings.read(environ, host="127.0.0.1"), options, say=self.said.append)


@pytest.fixture
def beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Beginning:
    (tmp_path / "stand_in.py").write_text(ROLES)
    monkeypatch.setattr(module, "PROCESS", "stand_in")
    return Beginning(tmp_path)


def test_an_api_that_is_killed_while_it_starts_is_started_again(beginning: Beginning) -> None:
    supervisor = beginning.supervisor(deaths=2)
    running = supervisor.start()
    try:
        with urllib.request.urlopen(running.url + "/healthz", timeout=5) as answer:
            assert answer.status == 200
    finally:
        supervisor.stop()
    assert beginning.starts.read_text() == "xxx"
    assert beginning.said.count("api ended with status -9; starting it again") == 2


def test_one_that_is_killed_again_and_again_is_given_up_on(beginning: Beginning) -> None:
    with pytest.raises(Unavailable, match=rf"killed {QUICK_DEATHS} times while starting, at last by signal 9") as told:
        beginning.supervisor(deaths=100).start()
    assert "memory" in told.value.mend
    assert beginning.starts.read_text() == "x" * QUICK_DEATHS


def test_one_that_ends_by_itself_would_only_do_so_again(beginning: Beginning) -> None:
    with pytest.raises(Unavailable, match="ended with status 3 while starting"):
        beginning.supervisor(deaths=100, BY_ITSELF="1").start()
    assert beginning.starts.read_text() == "x"
