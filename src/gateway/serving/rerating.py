"""What calls of a past time would cost by the prices known now, by team and model; and booking the difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from gateway.clock import SECOND, Clock, rfc3339
from gateway.errors import ValidationFailed
from gateway.ids import new_id
from gateway.ledger.entry import Entry
from gateway.ledger.price_card import PriceCard, variant_of
from gateway.ledger.rerating import Charged, RerateStore, correction_of, cost_again, left_out
from gateway.money import plain_usd
from gateway.registry.catalogue import Catalogue
from gateway.security.access import Caller
from gateway.security.audit import AuditLog
from gateway.serving.price_desk import card_of

_PAGE = 1000
#: Cards that are remembered within one look.
_MOST_CARDS = 100_000
_GONE = "its model is not configured any more"


class Difference(Struct):
    """The calls of one group whose cost differs, and their cost (units) as it is and as it would be."""

    group: dict[str, str]
    entries: int = 0
    before: int = 0
    after: int = 0


class Rerated(Struct):
    """What was found: ``entries`` looked at, how many of them differ by how much, and why others were left out."""

    since: int
    until: int
    entries: int = 0
    changed: int = 0
    difference: int = 0
    by_team: dict[str, Difference] = {}
    by_card: dict[tuple[str, str, str], Difference] = {}
    left_out: dict[str, int] = {}
    booked: int = 0


class Rerating:
    """Blocks on the database: call it from a thread."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        store: RerateStore,
        audit: AuditLog,
        clock: Clock,
        catch_up: Callable[[], object],
    ) -> None:
        self._catch_up = catch_up
        self._catalogue = catalogue
        self._store = store
        self._audit = audit
        self._clock = clock

    def rerate(
        self,
        caller: Caller,
        *,
        since: int,
        until: int,
        team: str | None = None,
        model: str | None = None,
        book: bool = False,
        request_id: str = "",
    ) -> Rerated:
        """Prices the calls of that time (microseconds, ``until`` not included) again. ``book`` enters the
        differences as corrections: ``PermissionDenied`` without ``ledger:correct``, ``Conflict`` where somebody
        else does the same."""
        caller.require("usage:read_all")
        if book:
            caller.require("ledger:correct")
        now = self._clock.now()
        until = min(until, now)
        if since >= until:
            raise ValidationFailed("since: a time before until, and not in the future, is expected", param="since")
        found = Rerated(since, until, by_team={}, by_card={}, left_out={})
        cards: dict[tuple[str, str, bool, int], PriceCard | None] = {}
        catalogue = self._catalogue()
        self._catch_up()
        for page in self._pages(since, until, team, model):
            corrections = []
            for charged in page:
                made = self._again(catalogue, cards, charged, found, now)
                if made is not None:
                    corrections.append(made)
            if book:
                self._store.book(corrections)
                found.booked += len(corrections)
        if book:
            self._record(caller, found, team, model, request_id)
        return found

    def _pages(self, since: int, until: int, team: str | None, model: str | None) -> Iterator[list[Charged]]:
        after = (since - 1, "")
        while page := self._store.charged(since, until, team, model, after, _PAGE):
            yield page
            after = page[-1].entry.at, page[-1].entry.entry_id

    def _again(
        self,
        catalogue: Catalogue,
        cards: dict[tuple[str, str, bool, int], PriceCard | None],
        charged: Charged,
        found: Rerated,
        now: int,
    ) -> Entry | None:
        entry = charged.entry
        found.entries += 1
        _, batch, tier = variant_of(entry.price_card)
        if entry.model not in catalogue.models:
            found.left_out[_GONE] = found.left_out.get(_GONE, 0) + 1
            return None
        key = entry.model, tier, batch, entry.at // SECOND
        if key not in cards:
            if len(cards) >= _MOST_CARDS:
                cards.clear()
            cards[key] = card_of(catalogue, catalogue.models[entry.model], entry.at, now, tier, batch=batch)
        card = cards[key]
        reason = left_out(entry, card)
        if card is None or reason:
            found.left_out[reason] = found.left_out.get(reason, 0) + 1
            return None
        cost = cost_again(entry, card)
        if cost == charged.cost:
            return None
        _add(found, charged, card, cost)
        return correction_of(charged, card.name, cost, entry_id=new_id("entry"), at=now)

    def _record(self, caller: Caller, found: Rerated, team: str | None, model: str | None, request_id: str) -> None:
        self._audit.record(
            actor=caller.principal,
            action="ledger.rerate",
            resource="ledger",
            outcome="booked",
            request_id=request_id,
            detail={
                "since": rfc3339(found.since),
                "until": rfc3339(found.until),
                "team": team,
                "model": model,
                "corrections": found.booked,
                "difference_usd": plain_usd(found.difference),
            },
        )


def _add(found: Rerated, charged: Charged, card: PriceCard, cost: int) -> None:
    entry = charged.entry
    found.changed += 1
    found.difference += cost - charged.cost
    team = entry.team or ""
    by_team = found.by_team.setdefault(team, Difference({"team": team}))
    names = {"model": entry.model, "charged_by": entry.price_card, "now": card.name}
    by_card = found.by_card.setdefault((entry.model, entry.price_card, card.name), Difference(names))
    for group in (by_team, by_card):
        group.entries += 1
        group.before += charged.cost
        group.after += cost
