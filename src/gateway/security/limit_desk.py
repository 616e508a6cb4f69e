"""Setting, showing and ending the rate limits of users and teams. Those of keys come with the key, those of
models stand in ``models.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import NotFound, PermissionDenied, ValidationFailed
from gateway.models.bound import LIMIT_FIELDS, MOST, Bound, misfit
from gateway.security.access import Caller

SCOPES = ("user", "team")
_SUBJECT = re.compile(r"[A-Za-z0-9._:/@+|=-]{1,200}")


class SetLimit(Struct, frozen=True):
    """The limits of a user or a team, by its kind and name (``team:risk``), and who set them when."""

    name: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_concurrent: int | None
    set_by: str
    set_at: int

    @property
    def bound(self) -> Bound:
        return Bound(self.name, self.requests_per_minute, self.tokens_per_minute, self.max_concurrent)


class LimitStore(Protocol):
    """Where they are kept, by their names."""

    def put(self, limit: SetLimit) -> None:
        """In the place of what was set under that name."""
        ...

    def list(self) -> list[SetLimit]: ...

    def remove(self, name: str) -> SetLimit | None: ...


class LimitDesk:
    """For those who may; ``changed`` is called after a change, so that it holds here at once. Other processes
    follow within the seconds for which they remember keys."""

    def __init__(self, store: LimitStore, clock: Clock, changed: Callable[[], object]) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed

    def set(self, caller: Caller, raw: Mapping[str, Any]) -> SetLimit:
        """From ``{scope, subject, requests_per_minute?, tokens_per_minute?, max_concurrent?}``; what is not
        named is not limited. ``ValidationFailed`` names the wrong field."""
        caller.require("keys:write")
        for field in raw:
            if field not in ("scope", "subject", *LIMIT_FIELDS):
                raise ValidationFailed(f"limits have no field {field!r}"[:120], param=field[:60])
        for field in LIMIT_FIELDS:
            if misfit(raw.get(field)):
                raise ValidationFailed(f"{field} is a whole number from 1 to {MOST}", param=field)
        name, values = (
            _name(caller, raw.get("scope"), raw.get("subject")),
            {field: raw.get(field) for field in LIMIT_FIELDS},
        )
        if all(value is None for value in values.values()):
            raise ValidationFailed(
                "no limit is named", mend=f"name one of: {', '.join(LIMIT_FIELDS)}", param=LIMIT_FIELDS[0]
            )
        limit = SetLimit(name=name, **values, set_by=caller.principal, set_at=self._clock.now())
        self._store.put(limit)
        self._changed()
        return limit

    def list(self, caller: Caller) -> list[SetLimit]:
        """All that are set."""
        caller.require("keys:read")
        return self._store.list()

    def end(self, caller: Caller, scope: Any, subject: Any) -> SetLimit:
        """Ends the limits of one user or team, and says what they were; ``NotFound`` where it has none."""
        caller.require("keys:write")
        gone = self._store.remove(_name(caller, scope, subject))
        if gone is None:
            raise NotFound("no limits are set there", mend="GET /limits lists what is set", param="subject")
        self._changed()
        return gone


def _name(caller: Caller, scope: Any, subject: Any) -> str:
    if scope not in SCOPES:
        raise ValidationFailed(
            f"scope is one of: {', '.join(SCOPES)}",
            mend="limits of a key come with the key, those of a model stand in config/models.yaml",
            param="scope",
        )
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise ValidationFailed("subject is a name of letters, digits and ._:/@+|=-", param="subject")
    if subject == (caller.principal if scope == "user" else caller.team) and caller.role != "admin":
        raise PermissionDenied(
            f"nobody sets the limits of the {scope} that they are themselves bound by",
            mend="ask an admin to set them",
            param="subject",
        )
    return f"{scope}:{subject}"
