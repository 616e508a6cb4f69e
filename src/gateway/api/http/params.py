"""Query parameters, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from gateway.api.doors import Call
from gateway.clock import from_rfc3339
from gateway.errors import BadRequest, NotBuilt, ValidationFailed

#: What follows the prefix in an id of ours; see ``gateway.ids``.
_ID = re.compile("[0-9a-hjkmnp-tv-z]{26}")


def limit_of(call: Call, default: int = 50, most: int = 200) -> int:
    """``limit``: how many rows a page has."""
    text = call.query("limit")
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= most:
        raise ValidationFailed(f"limit: a whole number from 1 to {most}", param="limit")
    return int(text)


def cursor_of(call: Call, prefix: str) -> str | None:
    """``cursor``: the id, of that prefix, by which the page before named where the next one begins. ``BadRequest`` for
    anything else: it would be a page from nowhere, and look like the first or the end of the list."""
    return _place_of(call, "cursor", prefix, "next_cursor")


def after_of(call: Call, prefix: str) -> str | None:
    """``after``: the same, as OpenAI's lists call it."""
    return _place_of(call, "after", prefix, "last_id")


def number_cursor_of(call: Call) -> int | None:
    """``cursor`` of a list whose rows have numbers."""
    text = call.query("cursor")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise no_page("cursor", "next_cursor")
    return None if text is None else int(text)


def no_page(param: str, told_as: str) -> BadRequest:
    """The refusal of a place where no page begins; ``told_as``: where a page names the next one's."""
    mend = f"take {told_as} of the page before, or leave it out for the first page"
    return BadRequest(f"{param}: no page begins there", mend=mend, param=param)


def whole_of(call: Call, name: str) -> int | None:
    """A whole number from 0 that need not be there."""
    text = call.query(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValidationFailed(f"{name}: a whole number", param=name)
    return int(text)


def flag_of(call: Call, name: str, *, default: bool) -> bool:
    """``true`` or ``false``."""
    text = call.query(name)
    if text not in (None, "true", "false"):
        raise ValidationFailed(f"{name}: true or false", param=name)
    return default if text is None else text == "true"


def time_of(call: Call, name: str) -> int | None:
    """A date or a time with its zone, in microseconds; need not be there."""
    text = call.query(name)
    return None if text is None else read_time(text, name)


def read_time(text: Any, name: str) -> int:
    """A date or a time with its zone, in microseconds."""
    given = text if isinstance(text, str) else ""
    try:
        return from_rfc3339(given if "T" in given else f"{given}T00:00:00Z")
    except (ValueError, OverflowError):
        raise ValidationFailed(f"{name}: a date (2026-01-31) or a time with its zone", param=name) from None


def texts_of(call: Call, name: str) -> tuple[str, ...]:
    """A list written with commas."""
    return tuple(filter(None, (call.query(name) or "").split(",")))


def only_queries(call: Call, *names: str) -> None:
    """``ValidationFailed`` for a parameter that this path does not have: heeding all but a misspelt filter
    would tell everybody's sums as one team's."""
    for given in call.request.query_params:
        if given not in names:
            near = get_close_matches(given, names, 1)
            raise ValidationFailed(
                f"{given[:60]}: no parameter of this path",
                mend=(f"did you mean {near[0]}? " if near else "")
                + (f"there are {', '.join(names)}" if names else "leave it out"),
                param=given[:60],
            )


def refuse_queries(call: Call, *names: str) -> None:
    """Parameters of OpenAI's that change what is told, and that this door does not heed."""
    for name in names:
        if call.query(name) is not None and call.query(name) != "false":
            raise NotBuilt(f"{name}: not built yet on this path", mend="leave it out", param=name)


def _place_of(call: Call, name: str, prefix: str, told_as: str) -> str | None:
    text = call.query(name)
    if text is not None:
        named, _, rest = text.rpartition("_")
        if named != prefix or not _ID.fullmatch(rest):
            raise no_page(name, told_as)
    return text


def listed(found: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """A page as OpenAI's lists are: the first ``limit`` of what was found, and whether there is more."""
    page = found[:limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    more = len(found) > limit
    return {"object": "list", "data": list(page), "first_id": first, "last_id": last, "has_more": more}
