"""Refuses a condition whose types can never be compared, when the definition is given: not when its step is due.

A reference may always lead nowhere, which is ``null``: so it is equal to what is ``null``, whatever its type.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.engine.checks import require
from gateway.engine.conditions import Node, shown
from gateway.engine.fitting import in_words, kind_of
from gateway.engine.mapping import Reference

#: JSON types; ``None`` where they are not known.
Kinds = frozenset[str] | None

_MEND = "compare values of one type; GET /task-types shows what each task type gives"
_BOOLEAN = frozenset({"boolean"})
_NULL = frozenset({"null"})
_ORDERED = ("number", "string")


def check_condition(node: Node, given: Callable[[Reference], Kinds], place: str) -> None:
    """``DefinitionInvalid`` at ``place`` for the first comparison that would fail, or never be true, whatever the
    values. ``given`` tells the types of what a reference leads to."""
    for part in node.parts:
        check_condition(part, given, place)
    if node.kind not in ("==", "!=", "in", "<", "<=", ">", ">="):
        return
    left, right = node.parts
    first, second = _kinds(left, given), _kinds(right, given)
    if node.kind in ("==", "!="):
        _refuse(_meet(first, second, left, right), node, first, second, place, "are never equal")
    elif node.kind == "in":
        _check_in(node, first, second, given, place)
    else:
        known = first is None or second is None or any(one in first and one in second for one in _ORDERED)
        _refuse(known, node, first, second, place, f"{node.kind!r} orders two numbers or two texts")


def _check_in(node: Node, first: Kinds, second: Kinds, given: Callable[[Reference], Kinds], place: str) -> None:
    left, right = node.parts
    places = second is None or bool(second & {"array", "object"})
    text = second is None or ("string" in second and (first is None or "string" in first))
    _refuse(places or text, node, first, second, place, "'in' looks in a list, an object or a text")
    if right.kind == "list":
        kinds = [_kinds(item, given) for item in right.parts]
        found = any(_meet(first, kind, left, item) for kind, item in zip(kinds, right.parts, strict=True))
        require(found, place, f"{shown(left)} is {in_words(first)}, and nothing in the list is", mend=_MEND)


def _meet(first: Kinds, second: Kinds, left: Node, right: Node) -> bool:
    """Whether two values may be equal."""
    if first is None or second is None:
        return True
    return bool(_maybe_gone(first, left) & _maybe_gone(second, right))


def _maybe_gone(kinds: frozenset[str], node: Node) -> frozenset[str]:
    return kinds | _NULL if node.kind == "reference" else kinds


def _refuse(good: bool, node: Node, first: Kinds, second: Kinds, place: str, why: str) -> None:
    left, right = (shown(part) for part in node.parts)
    told = f"{left} is {in_words(first)} and {right} is {in_words(second)}: {why}"
    require(good, place, told, mend=_MEND)


def _kinds(node: Node, given: Callable[[Reference], Kinds]) -> Kinds:
    if node.kind == "reference":
        return given(node.value[0])
    if node.kind == "value":
        return frozenset({kind_of(node.value)})
    return frozenset({"array"}) if node.kind == "list" else _BOOLEAN
