"""Whether a value that a step gives can be one that another takes, as far as their JSON schemas tell.

Only what can never fit is told: a number where a list is wanted. What may fit at run time (a text that
could be a date, anything that no schema describes) is let through, and checked again with the value itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.engine.mapping import is_index

Schema = Mapping[str, Any]

#: JSON types as people say them.
_WORDS = {
    "string": "a text",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
#: What readers of these types also take: digits and dates may come as text, and the other way round.
_READ_AS = {"number": {"string"}, "boolean": {"string", "number"}}
_MOST_REFERENCES = 16
#: So deep alternatives within alternatives are looked at, and so many: a schema may name itself.
_DEEPEST, _MOST_PARTS = 16, 200


def kinds_of(schema: Schema | None, root: Schema | None = None) -> frozenset[str] | None:
    """The JSON types that a value of the schema may have (``integer`` counts as ``number``); ``None`` where the
    schema does not say, or says it only in many words. ``root`` holds the definitions that ``$ref`` names."""
    return _kinds(schema, root, _DEEPEST, Counter())


def _kinds(schema: Schema | None, root: Schema | None, deep: int, seen: Counter[str]) -> frozenset[str] | None:
    found = resolved(schema, root)
    seen["parts"] += 1
    if found is None or deep == 0 or seen["parts"] > _MOST_PARTS:
        return None
    for name in ("anyOf", "oneOf"):
        if isinstance(found.get(name), Sequence):
            parts = [_kinds(part, root, deep - 1, seen) for part in found[name]]
            return None if None in parts else frozenset().union(*(part for part in parts if part is not None))
    if "type" in found:
        named = [found["type"]] if isinstance(found["type"], str) else found["type"]
        return frozenset("number" if name == "integer" else name for name in named)
    if "const" in found:
        return frozenset({kind_of(found["const"])})
    if isinstance(found.get("enum"), Sequence):
        return frozenset(kind_of(value) for value in found["enum"])
    return None


def kind_of(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, Sequence) else "number"


def may_fit(given: frozenset[str] | None, wanted: Schema | None, root: Schema | None) -> bool:
    """Whether a value of one of these types can be one of the schema."""
    asked = kinds_of(wanted, root)
    if given is None or asked is None:
        return True
    taken = set(asked).union(*(_READ_AS.get(kind, ()) for kind in asked))
    if "string" in asked and _has_format(wanted, root):
        taken.add("number")  # a date may come as seconds
    return bool(given & taken)


def inside(schema: Schema | None, path: Sequence[str], root: Schema | None) -> Schema | None:
    """The schema of what lies at ``path`` in a value of the schema; ``None`` where nothing is known of it.
    Raises ``LookupError`` with the name at which there can be nothing."""
    current = schema
    for name in path:
        kinds = kinds_of(current, root)
        found = resolved(current, root)
        if kinds is None or found is None:
            return None
        if not kinds & {"object", "array"}:
            raise LookupError(name)
        if "array" in kinds and "object" not in kinds and not is_index(name):
            raise LookupError(name)
        if "type" not in found:  # one of several: which, only the value tells
            return None
        closed = kinds == {"object"} and found.get("additionalProperties") is False
        if closed and name not in found.get("properties", {}) and "patternProperties" not in found:
            raise LookupError(name)
        current = found.get("items") if is_index(name) and "array" in kinds else _property(found, name)
    return current


def in_words(kinds: frozenset[str] | None) -> str:
    """Types as people say them: ``a text or null``."""
    return " or ".join(_WORDS[kind] for kind in _WORDS if kind in (kinds or ())) or "anything"


def resolved(schema: Schema | None, root: Schema | None) -> Schema | None:
    """The schema itself, or the one that its ``$ref`` names in ``root``; ``None`` where that is not there."""
    for _ in range(_MOST_REFERENCES):
        if not isinstance(schema, Mapping) or not schema:
            return None
        reference = schema.get("$ref")
        if reference is None:
            return schema
        schema = root
        for part in str(reference).removeprefix("#/").split("/"):
            schema = schema.get(part) if isinstance(schema, Mapping) else None
    return None


def _has_format(schema: Schema | None, root: Schema | None, deep: int = 3) -> bool:
    """Told of a few alternatives only: whoever writes more of them within each other is believed."""
    found = resolved(schema, root) or {}
    parts = [*found.get("anyOf", ()), *found.get("oneOf", ())]
    return "format" in found or any(deep == 0 or _has_format(part, root, deep - 1) for part in parts)


def _property(schema: Schema, name: str) -> Schema | None:
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and name in properties:
        known: Schema | None = properties[name]
        return known
    others = schema.get("additionalProperties")
    return others if isinstance(others, Mapping) else None
