"""Short words for JSON schemas (2020-12, as OpenAPI 3.1 has them)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]

ANY: Schema = {"description": "any JSON"}
TRUTH: Schema = {"type": "boolean"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
#: JSON that belongs to the caller: nothing is said of its fields.
FREE: Schema = {"type": "object"}
NOTHING: Schema = {"type": "null"}
#: An exact amount in USD.
USD: Schema = {"type": "number", "description": "USD, exact"}
NUMBER: Schema = {"type": "number"}
TIME: Schema = {"type": "string", "format": "date-time"}


def text(shortest: int | None = None, longest: int | None = None, *, said: str = "", like: str = "") -> Schema:
    """A text; lengths in characters, ``like`` a pattern."""
    return _given("string", minLength=shortest, maxLength=longest, pattern=like or None, description=said or None)


def whole(low: int | None = None, high: int | None = None, *, said: str = "", default: int | None = None) -> Schema:
    """A whole number."""
    return _given("integer", minimum=low, maximum=high, description=said or None, default=default)


def number(
    low: float | None = None, high: float | None = None, *, said: str = "", above: float | None = None
) -> Schema:
    """A number; more than ``above``."""
    return _given("number", minimum=low, maximum=high, exclusiveMinimum=above, description=said or None)


def one_of(words: Iterable[str], *, said: str = "", default: str | None = None) -> Schema:
    """One of these words."""
    return _given("string", enum=list(words), description=said or None, default=default)


def many(items: Schema, low: int | None = None, high: int | None = None, *, said: str = "") -> Schema:
    """A list."""
    return _given("array", items=items, minItems=low, maxItems=high, description=said or None)


def by_name(values: Schema, *, said: str = "") -> Schema:
    """An object with names that are not known beforehand."""
    return _given("object", additionalProperties=values, description=said or None)


def maybe(schema: Schema) -> Schema:
    """The same, or ``null``."""
    kind = schema.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [schema, {"type": "null"}]}
    found = {**schema, "type": [kind, "null"]}
    return {**found, "enum": [*schema["enum"], None]} if "enum" in schema else found


def ref(name: str) -> Schema:
    """A component."""
    return {"$ref": f"#/components/schemas/{name}"}


def told(always: Mapping[str, Schema], sometimes: Mapping[str, Schema] | None = None, *, said: str = "") -> Schema:
    """An object of an answer: it may have more fields some day, so generated clients have to bear them."""
    found = _given("object", description=said or None, properties={**always, **(sometimes or {})})
    return {**found, "required": list(always)} if always else found


def asked(needed: Mapping[str, Schema], more: Mapping[str, Schema] | None = None, **rest: Any) -> Schema:
    """An object of a request: a field that is none of these is refused. ``rest`` is put to it; what of the fields has
    to be there together (``oneOf``, …) stands where it holds for those who validate, and who make clients from the
    document are not led to several kinds of object."""
    together = {name: rest.pop(name) for name in ("oneOf", "anyOf", "allOf") if name in rest}
    if together:
        rest |= {"if": {"type": "object"}, "then": together}
    found: Schema = {"type": "object", "additionalProperties": False, "properties": {**needed, **(more or {})}, **rest}
    return {**found, "required": list(needed)} if needed else found


def one_field_of(*names: str) -> Schema:
    """Exactly one of these fields is there; for ``asked``."""
    return {"oneOf": [{"required": [name]} for name in names]}


def _given(kind: str, **words: Any) -> Schema:
    return {"type": kind, **{name: value for name, value in words.items() if value is not None}}
