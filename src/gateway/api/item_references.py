"""Items of a Responses request that only point at a kept one: each is put in its place.

An item's id holds its response's (``msg_{the response's}_{n}``), so it is found without an index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from gateway.errors import NotFound, ValidationFailed
from gateway.store.response_store import KeptResponse

#: The most responses that the references of one request may lead to.
_MOST = 1_000
_NAME = re.compile(r"[a-z]+_([0-9a-z]{26})_(?:in)?[0-9]{1,9}")

#: Responses that are kept for whoever asks, by their ids; those that are not are left out.
Find = Callable[[Sequence[str]], Mapping[str, KeptResponse]]


def has_references(items: Any) -> bool:
    """Whether an ``input`` points at kept items."""
    return isinstance(items, list) and any(map(_points, items))


def resolved(items: Sequence[Any], find: Find, known: Collection[str] = ()) -> list[Any]:
    """The items with what they point at in its place. ``known`` are the ids that stand before them already.

    ``NotFound`` for an item that is not kept for whoever asks, ``ValidationFailed`` for one that comes twice.
    """
    named = {at: _named(item, f"input[{at}].id") for at, item in enumerate(items) if _points(item)}
    homes = {at: home for at, name in named.items() if (home := _response_of(name)) is not None}
    wanted = list(dict.fromkeys(homes.values()))
    if len(wanted) > _MOST:
        raise ValidationFailed(f"input: items of at most {_MOST} responses", mend="use previous_response_id")
    kept = find(wanted)
    seen, found = set(known), list(items)
    for at, name in named.items():
        place = f"input[{at}].id"
        if name in seen:
            raise ValidationFailed(f"{place}: the item {name[:60]!r} is there twice", mend="send it once", param=place)
        seen.add(name)
        item = _item(kept.get(homes.get(at, "")), name)
        if item is None:
            raise NotFound(
                f"{place}: no item {name[:60]!r} is kept for you",
                mend="send the item itself (SDKs do with store: false): items go with their response, after 30 days, "
                "and are not kept where store is false",
                param=place,
            )
        found[at] = item
    return found


def _points(item: Any) -> bool:
    """OpenAI takes a lone id as a reference, too."""
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "id" in item and "role" not in item)


def _named(item: Mapping[str, Any], place: str) -> str:
    name = item.get("id")
    if not isinstance(name, str) or not name:
        raise ValidationFailed(f"{place}: the id of an earlier item is expected", param=place)
    return name


def _response_of(item_id: str) -> str | None:
    told = _NAME.fullmatch(item_id)
    return None if told is None else f"resp_{told[1]}"


def _item(kept: KeptResponse | None, name: str) -> dict[str, Any] | None:
    if kept is None:
        return None
    items: list[dict[str, Any]] = [*kept.body["output"], *kept.input]
    return next((item for item in items if item.get("id") == name), None)
