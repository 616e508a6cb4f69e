"""RabbitMQ as the broker: runs go through it, and go on after it was stopped. Where its server is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.house import House
from fixtures.upstream import Upstream, answer, openai_answer, running_upstream
from integration.test_crash_recovery import begin, check, end_of, start

#: Debian's command for it asks to be root; the one below it does not.
_PLACES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server") or "")
_PROGRAM = next((path for path in _PLACES if Path(path).is_file()), None)
pytestmark = pytest.mark.skipif(_PROGRAM is None, reason="rabbitmq-server is not installed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


class Rabbit:
    """One node in a folder of its own; its address stays the same over restarts."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._folder = folder
        self._log = folder / "rabbit.log"
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"gateway{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(folder / "crash"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it takes connections."""
        assert _PROGRAM is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_PROGRAM], cwd=self._folder, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as line:
                    line.sendall(b"AMQP\x00\x00\x09\x01")
                    if line.recv(1):
                        return
            except OSError:
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.2)

    def kill(self) -> None:
        """The node and all that it started."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        House.until(self._gone, bool)

    def _gone(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except ConnectionRefusedError:
            return True
        return False


@pytest.fixture
def rabbit(tmp_path: Path) -> Iterator[Rabbit]:
    running = Rabbit(tmp_path / "rabbit")
    running.start()
    yield running
    running.kill()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def test_runs_go_through_it_and_none_is_lost_while_it_is_away(
    rabbit: Rabbit, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.play(answer(openai_answer()))
    gateway = start(tmp_path, upstream, CELERY_BROKER_URL=rabbit.url)
    try:
        assert "broker" not in gateway.children()
        check(gateway, end_of(gateway, begin(gateway)), upstream)
        rabbit.kill()
        run_id = begin(gateway)
        rabbit.start()
        assert end_of(gateway, run_id)["status"] == "completed"
    finally:
        gateway.stop()
