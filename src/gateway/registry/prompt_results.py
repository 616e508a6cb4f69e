"""What became of the calls that each version of a prompt made: counted as they end, written in batches.

Counts are kept by day, version, label and a class of latency, so that any span of days can be summed
and its percentiles told. A process that is killed loses what it counted in the last second; the
record of each call has its prompt all the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from gateway.clock import SECOND, Clock
from gateway.errors import GatewayError

_log = logging.getLogger(__name__)
_DAY = 86_400 * SECOND
#: Classes of latency are powers of the fourth root of two: each bound is 19 % above the last.
_STEPS_AN_OCTAVE = 4
_NO_LATENCY = -1
_PAUSE = 0.5


class ResultKey(Struct, frozen=True):
    """What is counted together: ``day`` is a number of days since 1970."""

    name: str
    version: int
    label: str
    day: int
    bucket: int


class Counts(Struct):
    """How much. ``cost`` in units, ``micros`` of the completed calls; ``scores`` counts feedback, ``score`` sums it."""

    calls: int = 0
    failures: int = 0
    cost: int = 0
    micros: int = 0
    scores: int = 0
    score: float = 0.0

    def add(self, other: Counts) -> None:
        """Adds the other's figures to these."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class VersionResult(Struct, frozen=True):
    """A version's figures under one label (empty: asked for by its number, or as the newest)."""

    version: int
    label: str
    counts: Counts
    median_micros: int | None
    p95_micros: int | None


class ResultStore(Protocol):
    """Where counts are kept."""

    def add(self, counted: Sequence[tuple[ResultKey, Counts]]) -> None:
        """Adds to what is there, in one commit."""
        ...

    def read(self, name: str, since_day: int) -> list[tuple[ResultKey, Counts]]: ...


class PromptResults:
    """Counts the calls of one process; safe from any thread, and never blocks whoever tells of a call."""

    def __init__(self, store: ResultStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        #: Held while counts are on their way to the store: whoever flushes waits for those, too.
        self._writing = threading.Lock()
        self._counted: dict[ResultKey, Counts] = {}
        self._flushing: threading.Thread | None = None
        self._now = threading.Event()

    def call_ended(self, note: Mapping[str, Any], outcome: str, micros: int, cost: int) -> None:
        """One call (an attempt at one deployment) ended. ``note`` is what ``Rendered.note`` says."""
        if outcome == "completed":
            self._count(note, _bucket(micros), Counts(calls=1, cost=cost, micros=micros))
        else:
            failed = 0 if outcome == "cancelled" else 1  # a client that left says nothing about the prompt
            self._count(note, _NO_LATENCY, Counts(calls=1, failures=failed, cost=cost))

    def feedback(self, note: Mapping[str, Any], score: float) -> None:
        """Somebody judged an answer. ``note`` is what the record of its call has under ``prompt``."""
        self._count(note, _NO_LATENCY, Counts(scores=1, score=score))

    def flush(self) -> None:
        """Writes what was counted. Where the database does not answer it is kept for the next time."""
        with self._writing:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            counted, self._counted = self._counted, {}
            self._now.set()
        if not counted:
            return
        try:
            self._store.add(list(counted.items()))
        except GatewayError as error:
            _log.warning("results of prompts could not be written: %s", error.message)
            with self._lock:
                for key, counts in counted.items():
                    self._counted.setdefault(key, Counts()).add(counts)

    def read(self, name: str, days: int) -> list[VersionResult]:
        """Each version's figures of these last days, today included; newest version first."""
        self.flush()
        rows = self._store.read(name, self._clock.now() // _DAY - days + 1)
        groups: dict[tuple[int, str], list[tuple[ResultKey, Counts]]] = {}
        for key, counts in rows:
            groups.setdefault((key.version, key.label), []).append((key, counts))
        return [_sum(version, label, group) for (version, label), group in sorted(groups.items(), reverse=True)]

    def _count(self, note: Mapping[str, Any], bucket: int, counts: Counts) -> None:
        day = self._clock.now() // _DAY
        key = ResultKey(note["id"], note["version"], note.get("label") or "", day, bucket)
        with self._lock:
            self._counted.setdefault(key, Counts()).add(counts)
            if self._flushing is None or not self._flushing.is_alive():
                self._now.clear()
                self._flushing = threading.Thread(target=self._later, name="prompt results")
                self._flushing.start()

    def _later(self) -> None:
        """Ends with what it was started for, so that a process which ends waits for it and loses nothing."""
        self._now.wait(_PAUSE)
        with self._lock:
            self._flushing = None
        self.flush()


def _bucket(micros: int) -> int:
    """The class of a latency: the largest power of 2^(1/4) that is not above it."""
    if micros < 1:
        return 0
    octave = micros.bit_length() - 1
    share = micros / (1 << octave)
    return octave * _STEPS_AN_OCTAVE + sum(share >= 2 ** (step / _STEPS_AN_OCTAVE) for step in range(1, 4))


def _sum(version: int, label: str, rows: Sequence[tuple[ResultKey, Counts]]) -> VersionResult:
    total, buckets = Counts(), dict[int, int]()
    for key, counts in rows:
        total.add(counts)
        if key.bucket != _NO_LATENCY:
            buckets[key.bucket] = buckets.get(key.bucket, 0) + counts.calls
    return VersionResult(version, label, total, _percentile(buckets, 0.5), _percentile(buckets, 0.95))


def _percentile(buckets: Mapping[int, int], share: float) -> int | None:
    """The middle of the class in which that share of the calls is reached; ``None`` without calls."""
    left = share * sum(buckets.values())
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            return round(2 ** ((bucket + 0.5) / _STEPS_AN_OCTAVE))
    return None
