"""What a journal of calls says: a call was opened; it ended at a cost; it was released at none.

Lines of JSON arrays. An ``Opened`` that is written is the durable intent, and the hold: no provider is called
before it. The states of a hold, and the only ways between them:

    held ──▶ settled       ``Ended``: the call ended and its cost is an entry
      ├────▶ released      ``Released``: the provider was never reached, or surely did no work: no entry
      └────▶ unresolved    nothing: its process died under it, an entry at the full reservation

A request that is with a provider's batch API for hours is no process's: its row is the intent, with the same
ends (``store.provider_batch_money``); it is unresolved where its batch is given up.

None of these shapes, nor of those in them, ever refers to one that refers to it, so the collector of rings need not
look at them (``gc=False``): a backlog has hundreds of thousands, and looking at all of them again and again is a
large part of what a call's money costs.

The ends are ends. Nothing is ever updated in or deleted from the entries; hence after any crash each
intent has ended in one of the three, and no budget stays reserved for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from msgspec import Struct

from gateway.ledger.entry import Charge, Entry
from gateway.ledger.outcome import Outcome, entry_of

HoldState = Literal["held", "settled", "released", "unresolved"]
#: From each state, the states that may follow.
TRANSITIONS: Mapping[HoldState, frozenset[HoldState]] = MappingProxyType(
    {
        "held": frozenset({"settled", "released", "unresolved"}),
        "settled": frozenset(),
        "released": frozenset(),
        "unresolved": frozenset(),
    }
)

_NO_NOTE: Mapping[str, Any] = MappingProxyType({})


class Opened(Struct, frozen=True, array_like=True, tag="o", gc=False):
    """A call that is about to be made: its worst case (units) is set aside in ``budgets`` (ids)."""

    hold_id: str
    at: int
    amount: int
    card: str
    door: str
    charge: Charge
    budgets: tuple[str, ...] = ()


class Ended(Struct, frozen=True, array_like=True, tag="e", gc=False):
    """How it ended. ``note`` is what the record of the call says beside the usual."""

    hold_id: str
    at: int
    entry_id: str
    outcome: Outcome
    note: dict[str, Any] = {}


class Released(Struct, frozen=True, array_like=True, tag="r", gc=False):
    """It came to nothing, for the reason ``code``, and costs nothing."""

    hold_id: str
    at: int
    code: str
    note: dict[str, Any] = {}


class Done(Struct, frozen=True, gc=False):
    """A call from its beginning to its end; ``entry`` is ``None`` where it was released.

    ``segment`` is the journal's that holds its beginning, ``position`` where its end stands there.
    """

    opened: Opened
    end: Ended | Released
    entry: Entry | None
    segment: int = 0
    position: tuple[int, int] = (0, 0)


def done(opened: Opened, end: Ended | Released, segment: int, position: tuple[int, int]) -> Done:
    """The call with the entry that it makes."""
    made = None
    if type(end) is Ended:
        made = entry_of(end.entry_id, opened.charge, end.outcome, opened.card, opened.hold_id, end.at)
    return Done(opened, end, made, segment, position)


_ENCODER = msgspec.json.Encoder(enc_hook=str)
_DECODER: msgspec.json.Decoder[Opened | Ended | Released] = msgspec.json.Decoder(Opened | Ended | Released)


#: The record (an ``Opened``, ``Ended`` or ``Released``) as a line, without its end.
encode_line = _ENCODER.encode


def decode_line(line: bytes) -> Opened | Ended | Released:
    """The inverse; ``msgspec.DecodeError`` for anything else."""
    return _DECODER.decode(line)


def unresolved(opened: Opened, entry_id: str, at: int, note: Mapping[str, Any] = _NO_NOTE) -> Done:
    """The end of a call of which nobody can say what it cost: charged at its reservation, and named."""
    outcome = Outcome(cost=opened.amount, outcome="unresolved", basis="estimated")
    return done(opened, Ended(opened.hold_id, at, entry_id, outcome, dict(note)), segment=0, position=(0, 0))
