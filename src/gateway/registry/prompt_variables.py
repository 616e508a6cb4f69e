"""The variables of a prompt template: what each may be, and values held to it.

An error names the variable and what was expected of it. It never repeats the value: a variable may
hold what nobody else should read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from msgspec import UNSET, Struct, UnsetType

from gateway.errors import ValidationFailed
from gateway.models.json_schema import ready_schema

Kind = Literal["any", "string", "integer", "number", "boolean", "list", "object"]
KINDS: tuple[str, ...] = get_args(Kind)
_EXPECTED: Mapping[str, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
    "any": "a value",
}
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list, tuple),
    "object": (dict,),
}


class Variable(Struct, frozen=True, omit_defaults=True):
    """What one variable may be. Lengths are of texts (characters), lists (items) and objects (fields);
    ``pattern`` is a regular expression of linear time (Rust's dialect) that the whole text matches."""

    name: str
    type: Kind = "any"
    required: bool = True
    default: Any | UnsetType = UNSET
    description: str = ""
    enum: tuple[Any, ...] = ()
    pattern: str = ""
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None


def undeclared(names: Iterable[str]) -> tuple[Variable, ...]:
    """Variables of which nothing is known but that the template uses them."""
    return tuple(Variable(name) for name in names)


def check_values(variables: Sequence[Variable], values: Any, path: str = "variables") -> dict[str, Any]:
    """The values to render with, defaults filled in. ``ValidationFailed`` names the first that is wrong."""
    if not isinstance(values, Mapping):
        raise ValidationFailed(f"{path}: an object is expected", param=path)
    known = {variable.name: variable for variable in variables}
    for name in values:
        if name not in known:
            there = f"it has: {', '.join(known)}" if known else "it has none"
            place = f"{path}.{str(name)[:64]}"
            raise ValidationFailed(f"{place}: the prompt has no such variable", mend=there, param=place)
    missing = [name for name, variable in known.items() if variable.required and name not in values]
    if missing:
        raise ValidationFailed(
            f"{path}: missing: {', '.join(missing)}",
            mend="; ".join(f"{name} is {expected(known[name])}" for name in missing[:5]),
            param=f"{path}.{missing[0]}",
        )
    filled = {name: one.default for name, one in known.items() if one.default is not UNSET} | dict(values)
    for name, value in filled.items():
        if not fits(known[name], value):
            place = f"{path}.{name}"
            raise ValidationFailed(
                f"{place}: {expected(known[name])} is expected", mend=known[name].description, param=place
            )
    return filled


def expected(variable: Variable) -> str:
    """What a variable takes, in words: ``a whole number from 1 to 9``."""
    words = _EXPECTED[variable.type]
    if variable.enum:
        return "one of " + ", ".join(str(item)[:40] for item in variable.enum)
    if variable.pattern:
        words += f" like {variable.pattern}"
    low, high, unit = variable.minimum, variable.maximum, ""
    if variable.type in ("string", "list", "object"):
        low, high = variable.min_length, variable.max_length
        unit = {"string": " characters", "list": " items", "object": " fields"}[variable.type]
    joint = " of " if unit else " "
    if low is not None and high is not None:
        return f"{words}{joint}{low:g} to {high:g}{unit}" if unit else f"{words} from {low:g} to {high:g}"
    if low is not None:
        return f"{words}{joint}at least {low:g}{unit}"
    return f"{words}{joint}at most {high:g}{unit}" if high is not None else words


def fits(variable: Variable, value: Any) -> bool:
    """Whether the variable may be this."""
    kind = variable.type
    if kind != "any" and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return False
    if variable.enum and value not in variable.enum:
        return False
    if kind in ("string", "list", "object"):
        size = len(value)
        if size < (variable.min_length or 0) or (variable.max_length is not None and size > variable.max_length):
            return False
    elif kind in ("integer", "number"):
        if variable.minimum is not None and value < variable.minimum:
            return False
        if variable.maximum is not None and value > variable.maximum:
            return False
    return not variable.pattern or _matches(variable.pattern, value)


def check_pattern(pattern: str) -> None:
    """``ValueError`` for what is no regular expression of linear time."""
    ready_schema(_schema_of(pattern))


def _matches(pattern: str, value: str) -> bool:
    """Python's own engine may take exponential time for a text that a caller chooses; this one may not."""
    return ready_schema(_schema_of(pattern)).is_valid(value)


def _schema_of(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}
