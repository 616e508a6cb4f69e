"""What an entry is made of: it is put together by the order of its fields, so each must be where its name says."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.ledger.entry import Charge, Entry
from gateway.ledger.outcome import Outcome, entry_of, outcome_of
from gateway.models.llm_models import Usage

_USAGE = Usage(input_tokens=11, output_tokens=12, cached_tokens=3, cache_write_tokens=4, reasoning_tokens=5)
#: Fields of an entry that are named otherwise in what it is made of, or are worked out.
_OWN = {"entry_id", "hold_id", "price_card", "flags", "usage_detail", "at"}


def charge() -> Charge:
    """Every text of it is its field's own name."""
    named: dict[str, Any] = {field: f"the {field}" for field in Charge.__struct_fields__}
    return Charge(**named | {"kind": "llm", "within": ()})


def test_every_field_of_an_entry_is_what_its_name_says() -> None:
    charged = charge()
    outcome = Outcome(21, "completed", "provider", _USAGE, 22, 23, None, ("odd", "even"), "")
    entry = entry_of("the entry", charged, outcome, "the card", "the hold", 24)
    told = msgspec.structs.asdict(_USAGE) | msgspec.structs.asdict(outcome) | msgspec.structs.asdict(charged)
    told |= {"cost": 21, "basis": "provider", "outcome": "completed"}
    wanted = {field: told[field] for field in Entry.__struct_fields__ if field not in _OWN}
    own = {"entry_id": "the entry", "hold_id": "the hold", "price_card": "the card", "at": 24}
    assert msgspec.structs.asdict(entry) == wanted | own | {"flags": "odd,even", "usage_detail": ""}


def test_what_answered_otherwise_than_planned_is_named_by_the_entry() -> None:
    outcome = Outcome(21, "completed", "provider", _USAGE, upstream_model="another", card="its card")
    entry = entry_of("the entry", charge(), outcome, "the card", None, 24)
    assert (entry.upstream_model, entry.price_card, entry.hold_id) == ("another", "its card", None)


def test_every_field_of_an_outcome_is_what_its_name_says() -> None:
    outcome, flags = outcome_of(21, _USAGE, 22, 23, "failed", "estimated", "another", "its card")
    assert flags == ()
    assert msgspec.structs.asdict(outcome) == {
        "cost": 21, "outcome": "failed", "basis": "estimated", "usage": _USAGE, "inference_micros": 22, "rows": 23,
        "upstream_model": "another", "flags": (), "card": "its card",
    }  # fmt: skip
