"""A declared parameter: what the document says of it is what is checked where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.api.described.shapes import Schema, one_of, text, whole
from gateway.errors import ValidationFailed
from gateway.models.selection import CAPABILITIES

#: The longest text that is looked at.
LONGEST = 500
#: No text in the database has it.
_NUL = "\0"
_NEED = f"({'|'.join(CAPABILITIES)})"


class Param(Struct, frozen=True):
    """A parameter of the query, or a header. ``schema`` is of a text or of a whole number."""

    name: str
    schema: Schema
    said: str = ""
    required: bool = False

    def check(self, given: str) -> None:
        """``ValidationFailed`` for what the schema does not allow; what a pattern asks the handler says better."""
        schema, name = self.schema, self.name
        if schema["type"] == "integer":
            low, high = schema["minimum"], schema.get("maximum", 10**18 - 1)
            fits = given.isascii() and given.isdigit() and len(given) <= 18 and low <= int(given) <= high
            expected = f"a whole number from {low} to {high}"
        elif "enum" in schema:
            fits = given in schema["enum"]
            expected = f"one of {', '.join(schema['enum'])}"
        else:
            longest = schema.get("maxLength", LONGEST)
            fits = len(given) <= longest and _NUL not in given
            expected = f"at most {longest} characters, none of them NUL"
        if not fits:
            raise ValidationFailed(f"{name}: {expected}", param=name)

    def view(self, where: str) -> dict[str, Any]:
        """As OpenAPI writes it; ``where`` is ``query`` or ``header``."""
        found: dict[str, Any] = {"name": self.name, "in": where, "schema": self.schema}
        if self.said:
            found["description"] = self.said
        return {**found, "required": True} if self.required else found


def name_of(name: str, said: str = "") -> Param:
    """A parameter that is some text."""
    return Param(name, text(longest=LONGEST), said)


def word_of(name: str, words: tuple[str, ...], said: str = "", default: str | None = None) -> Param:
    """A parameter that is one of some words."""
    return Param(name, one_of(words, default=default), said)


def whole_of(name: str, low: int = 0, high: int | None = None, said: str = "", default: int | None = None) -> Param:
    """A parameter that is a whole number."""
    return Param(name, whole(low, high, default=default), said)


def limit_of(default: int = 50, most: int = 200) -> Param:
    """How many rows a page has."""
    return whole_of("limit", 1, most, "rows of a page", default)


#: A language model that is chosen is chosen within these, as headers or in the query.
SELECTION: Mapping[str, Param] = {
    param.name: param
    for param in (
        Param("max_cost_usd", text(longest=40, like=r"^[0-9]{1,6}(\.[0-9]{1,10})?$"), "USD an attempt may cost"),
        Param("max_latency_ms", text(longest=40, like=r"^[1-9][0-9]{0,5}(\.[0-9]+)?$"), "milliseconds"),
        Param("min_quality", text(longest=40, like=r"^(0|0?\.[0-9]+|1(\.0*)?)$"), "from 0 to 1"),
        Param("needs", text(longest=200, like=rf"^ *({_NEED}( *, *{_NEED})*)? *$"), "capabilities, with commas"),
        Param("deterministic", text(longest=5, like="^(0|1|true|false)$"), "no exploring"),
    )
}
CURSOR = name_of("cursor", "next_cursor of the page before")
