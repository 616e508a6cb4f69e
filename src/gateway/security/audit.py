"""The audit trail: a hash chain over canonical JSON that cannot be changed unseen.

Each record's hash is SHA-256 over the hash before it and the record's canonical JSON; numbers run
from 1 without a gap. Signed checkpoints kept outside the database (``Checkpoints``) bear witness to
where the chain stood, so that cutting its tail or writing all of it anew is found as well.

``record`` fails closed: it returns only when the record is on disk, else raises ``Unavailable``,
and the caller must then refuse what it was about to do.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import GatewayError, Unavailable
from gateway.security.scrub import is_plain, is_suspect, scrub

GENESIS = "0" * 64
_DETAIL_LIMIT = 16_384
#: Of who, what and where, each.
_LONGEST = 500
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str
).encode
#: The same text for what is plain, many times faster.
_SORTED = msgspec.json.Encoder(order="sorted").encode
_CONTENT = msgspec.json.Encoder().encode
_quoted = json.encoder.encode_basestring


class AuditDraft(Struct, frozen=True, gc=False):
    """A record before it has its place in the chain. ``detail`` is canonical JSON text."""

    at: int
    actor: str
    action: str
    resource: str
    outcome: str
    request_id: str
    detail: str


class AuditRecord(Struct, frozen=True, gc=False):
    """One link of the chain."""

    seq: int
    at: int
    actor: str
    action: str
    resource: str
    outcome: str
    request_id: str
    detail: str
    previous: str
    hash: str


class _Content(Struct, frozen=True, gc=False):
    """What a hash is of: as JSON it is canonical, for its fields stand in their order."""

    action: str
    actor: str
    at: int
    detail: str
    outcome: str
    request_id: str
    resource: str
    seq: int


class AuditFilter(Struct, frozen=True):
    """Which records: ``since`` included, ``until`` not (microseconds); ``None`` means any."""

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    request_id: str | None = None
    since: int | None = None
    until: int | None = None


class AuditProblem(Struct, frozen=True):
    """Where the chain is broken (``seq``), how (``kind``), and in words."""

    seq: int
    kind: str
    text: str


class AuditReport(Struct, frozen=True):
    """What a check of the chain found; at most 100 problems are listed."""

    ok: bool
    records: int
    checkpoints: int
    problems: tuple[AuditProblem, ...] = ()


class AuditSink(Protocol):
    """Where the chain is kept."""

    def append(self, drafts: Sequence[AuditDraft]) -> list[AuditRecord]:
        """Adds the drafts to the end of the chain in one transaction, under the lock that numbers
        records in the order of their commits. Returns when they are on disk."""
        ...

    def chain(self) -> Iterator[AuditRecord]:
        """Every record, by number, from one snapshot."""
        ...

    def count(self) -> int:
        """The last number given out."""
        ...

    def find(self, where: AuditFilter, *, before: int | None, limit: int) -> list[AuditRecord]:
        """Newest first, with numbers below ``before``."""
        ...


class Checkpoint(Struct, frozen=True):
    """Where the chain stood at some time: the record ``seq`` had this ``hash``."""

    seq: int
    hash: str
    at: int


def checkpoint_of(record: AuditRecord) -> Checkpoint:
    """Where the chain stands once this is its last record."""
    return Checkpoint(record.seq, record.hash, record.at)


class Witness(Protocol):
    """The signed checkpoints outside the database."""

    def note(self, checkpoint: Checkpoint) -> None:
        """Keeps the checkpoint. ``OSError`` where it cannot."""
        ...

    def read(self) -> tuple[list[Checkpoint], list[str]]:
        """The checkpoints whose signature holds, and a line for each that is damaged or forged."""
        ...


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; the same value always gives the same text."""
    return _CANONICAL(value)


def chain_hash(previous: str, seq: int, draft: AuditDraft | AuditRecord) -> str:
    """The hash of record ``seq`` with this content, after a record with the hash ``previous``."""
    try:
        content = _CONTENT(
            _Content(
                draft.action,
                draft.actor,
                draft.at,
                draft.detail,
                draft.outcome,
                draft.request_id,
                draft.resource,
                seq,
            )
        )
    except UnicodeEncodeError:  # a surrogate alone
        content = _content(seq, draft)
    return hashlib.sha256(previous.encode() + content).hexdigest()


def _content(seq: int, draft: AuditDraft | AuditRecord) -> bytes:
    """The same text, of whatever it says."""
    text = (
        f'{{"action":{_quoted(draft.action)},"actor":{_quoted(draft.actor)},"at":{draft.at},'
        f'"detail":{_quoted(draft.detail)},"outcome":{_quoted(draft.outcome)},'
        f'"request_id":{_quoted(draft.request_id)},"resource":{_quoted(draft.resource)},"seq":{seq}}}'
    )
    return text.encode("utf-8", "surrogatepass")


def link(previous: str, seq: int, draft: AuditDraft) -> AuditRecord:
    """The draft as record ``seq`` after a record with the hash ``previous``."""
    return AuditRecord(
        seq,
        draft.at,
        draft.actor,
        draft.action,
        draft.resource,
        draft.outcome,
        draft.request_id,
        draft.detail,
        previous,
        chain_hash(previous, seq, draft),
    )


def draft_of(
    *, at: int, actor: str, action: str, resource: str, outcome: str, request_id: str, detail: Mapping[str, Any]
) -> AuditDraft:
    """A draft that any database holds, without the values whose name or look is that of a secret."""
    whole = f"{actor}{action}{resource}{outcome}{request_id}"
    if len(whole) <= _LONGEST and whole.isascii() and "\0" not in whole:
        return AuditDraft(at, actor, action, resource, outcome, request_id, _detail(dict(detail)))
    return AuditDraft(
        at, _clean(actor), _clean(action), _clean(resource), _clean(outcome), _clean(request_id), _detail(dict(detail))
    )


class _Pending:
    __slots__ = ("draft", "error", "record")

    def __init__(self, draft: AuditDraft) -> None:
        self.draft = draft
        self.record: AuditRecord | None = None
        self.error: GatewayError | None = None


class AuditLog:
    """Writes and checks the trail. Threads that record at the same time share one commit."""

    def __init__(
        self,
        sink: AuditSink,
        clock: Clock,
        witness: Witness | None = None,
        *,
        catch_up: Callable[[], object] = lambda: None,
    ) -> None:
        #: Brings in records that others add to the chain, before it is read.
        self._catch_up = catch_up
        self._sink = sink
        self._clock = clock
        self._witness = witness
        self._queue: list[_Pending] = []
        self._queue_lock = threading.Lock()
        self._write_lock = threading.Lock()

    def record(
        self,
        *,
        actor: str,
        action: str,
        resource: str,
        outcome: str,
        request_id: str,
        detail: Mapping[str, Any] | None = None,
    ) -> AuditRecord:
        """Adds one record and returns it once it is on disk; ``Unavailable`` if it cannot be.

        Values in ``detail`` whose name or look is that of a secret are removed first.
        """
        pending = _Pending(
            draft_of(
                at=self._clock.now(),
                actor=actor,
                action=action,
                resource=resource,
                outcome=outcome,
                request_id=request_id,
                detail=detail or {},
            )
        )
        with self._queue_lock:
            self._queue.append(pending)
        with self._write_lock:
            if pending.record is None and pending.error is None:
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                self._write(batch)
        if pending.error is not None:
            raise pending.error
        if pending.record is None:  # a batch is answered whole, under the lock
            raise Unavailable("the audit trail gave no answer", retry_after=1.0)
        return pending.record

    def find(
        self, where: AuditFilter | None = None, *, cursor: int | None = None, limit: int = 100
    ) -> tuple[list[AuditRecord], int | None]:
        """A page of records, newest first, and the cursor of the next page if there is one."""
        self._catch_up()
        found = self._sink.find(where or AuditFilter(), before=cursor, limit=limit + 1)
        page = found[:limit]
        return page, page[-1].seq if len(found) > limit else None

    def verify(self) -> AuditReport:
        """Walks the whole chain and names every record that is not what it was when written."""
        self._catch_up()
        checkpoints, forged = self._witness.read() if self._witness else ([], [])
        return check_chain(self._sink.chain(), self._sink.count, checkpoints, forged)

    def _write(self, batch: list[_Pending]) -> None:
        try:
            records = self._sink.append([pending.draft for pending in batch])
            if self._witness is not None and records:
                self._witness.note(checkpoint_of(records[-1]))
        except Exception as error:  # noqa: BLE001 - whatever stopped it, nothing was recorded: say so to each
            for pending in batch:
                pending.error = Unavailable(
                    "the audit trail cannot be written, so nothing that needs a record is done",
                    mend="see the disk and the database of the gateway",
                    retry_after=5.0,
                )
                pending.error.__cause__ = error
            return
        for pending, record in zip(batch, records, strict=True):
            pending.record = record


def check_chain(
    chain: Iterator[AuditRecord], count: Callable[[], int], checkpoints: Sequence[Checkpoint], forged: Sequence[str]
) -> AuditReport:
    """Checks links, contents, numbers, the tail and the checkpoints of a chain.

    ``count`` gives the last number given out; it is asked before the walk, and again after it where
    records were added meanwhile.
    """
    last = count()
    problems = [AuditProblem(0, "checkpoint", text) for text in forged]
    witnessed: dict[int, set[str]] = {}
    for checkpoint in checkpoints:
        witnessed.setdefault(checkpoint.seq, set()).add(checkpoint.hash)
    previous, expected, walked = GENESIS, 1, 0
    for record in chain:
        walked += 1
        if record.seq != expected:
            problems.append(
                AuditProblem(expected, "deleted", f"records {expected} to {record.seq - 1} are missing")
                if record.seq > expected
                else AuditProblem(record.seq, "inserted", f"record {record.seq} is out of place")
            )
        elif record.previous != previous:
            problems.append(AuditProblem(record.seq, "link", f"record {record.seq} does not follow the one before it"))
        if chain_hash(record.previous, record.seq, record) != record.hash:
            problems.append(AuditProblem(record.seq, "changed", f"record {record.seq} is not what was written"))
        elif witnessed.get(record.seq, {record.hash}) != {record.hash}:
            problems.append(
                AuditProblem(record.seq, "rewritten", f"record {record.seq} differs from its signed checkpoint")
            )
        previous, expected = record.hash, record.seq + 1
    highest = max([last, *witnessed])
    if highest >= expected:
        problems.append(
            AuditProblem(expected, "truncated", f"records {expected} to {highest} were written and are gone")
        )
    elif last < expected - 1 and count() < expected - 1:
        problems.append(AuditProblem(last + 1, "inserted", f"records above {last} were never numbered"))
    return AuditReport(not problems, walked, len(checkpoints), tuple(problems[:100]))


def _clean(text: str) -> str:
    """Text that any database holds: no NUL, no lone surrogate, and not without end."""
    if text.isascii() and "\0" not in text:
        return text[:_LONGEST]
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")[:_LONGEST]


def _detail(detail: dict[str, Any]) -> str:
    text = _plain(detail)
    if text is None:
        text = canonical_json(scrub(detail)).encode("utf-8", "replace").decode("utf-8")
    if len(text) > _DETAIL_LIMIT:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return canonical_json({"omitted": "larger than an audit record holds", "sha256": digest, "length": len(text)})
    return text


def _plain(detail: dict[str, Any]) -> str | None:
    """Its canonical JSON, quickly, where nothing in it is to be removed; else ``None``."""
    try:
        text = _SORTED(detail).decode() if is_plain(detail) else None
    except UnicodeEncodeError:  # a surrogate alone
        return None
    return None if text is None or is_suspect(text) else text
