"""What this machine says about itself and about processes: cores, CPU time, memory (Linux: ``/proc``)."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """Where the stacks run, and where the upstream and the load do."""

    served: frozenset[int]
    driven: frozenset[int]

    @property
    def apart(self) -> bool:
        return not self.served & self.driven


def cores() -> Cores:
    """The first core serves, the second drives; one core does both where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(usable[:1]), frozenset(usable[1:2] or usable[:1]))


@contextlib.contextmanager
def on(wanted: Iterable[int]) -> Iterator[None]:
    """Whatever is started inside runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(wanted))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_many_files() -> int:
    """Lets this process and its children open as many files as they may; returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def tree(root: int) -> list[int]:
    """``root`` and everything it has started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if _stat(pid):
            found.append(pid)
        waiting += children.get(pid, [])
    return found


def command_of(pid: int) -> str:
    """The command line; empty for a process that is gone."""
    with contextlib.suppress(OSError):  # it ended between the listing and the look
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that these processes have used, all their threads together."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory; pages that processes share are divided among them where the kernel tells."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # gone, or not ours to look into: it counts as nothing
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def idle_seconds() -> float:
    """Time that all cores together have spent doing nothing."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(first[4]) + int(first[5])) / TICKS


def facts() -> dict[str, str]:
    """The machine in a few words."""
    processor = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": processor,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1024 / 1024:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": f"{platform.python_version()} {'of the system' if sys.base_prefix == '/usr' else 'built here'}",
    }


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/pid/stat`` after the name; empty for a process that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended between the listing and the look
        return []
    return [] if fields[0] == "Z" else fields


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
