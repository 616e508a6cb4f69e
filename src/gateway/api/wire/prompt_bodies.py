"""The bodies that make a version of a prompt, or point a label: read strictly, refused by the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import UNSET

from gateway.errors import ValidationFailed
from gateway.governance.validators import check_llm_parameters, refuse_unknown, text_field
from gateway.models.llm_models import Role
from gateway.registry.prompt_labels import Target
from gateway.registry.prompt_variables import KINDS, TYPES, Kind, Variable, check_pattern, expected, fits
from gateway.registry.prompt_version import LONGEST_TEMPLATE, Defaults, NewPrompt, Turn, check_name

_MOST_TURNS = 100
_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
#: Parameters that a version may ask for where the request says nothing.
_PARAMETERS = (
    "temperature", "top_p", "max_tokens", "seed", "presence_penalty", "frequency_penalty", "stop", "reasoning_effort"
)  # fmt: skip
_MOST_VARIABLES = 100
_LONGEST_PATTERN = 500
_FIELDS = (
    "type", "required", "default", "description", "enum", "pattern", "min_length", "max_length", "minimum", "maximum"
)  # fmt: skip
#: Which bounds a type has.
_BOUNDS: Mapping[str, tuple[str, ...]] = {
    "string": ("enum", "pattern", "min_length", "max_length"),
    "integer": ("enum", "minimum", "maximum"),
    "number": ("enum", "minimum", "maximum"),
    "list": ("min_length", "max_length"),
    "object": ("min_length", "max_length"),
}
_MOST_TARGETS = 10
_MOST_WEIGHT = 1_000_000
#: Names that mean something else inside a template.
_TAKEN = frozenset(
    {"true", "false", "none", "True", "False", "None", "loop", "range", "self", "not", "and", "or", "in"}
)


def read_prompt(raw: Mapping[str, Any]) -> NewPrompt:
    """The version a body describes. ``ValidationFailed`` names the field."""
    refuse_unknown(raw, ("name", "template", "messages", "variables", "defaults", "comment"), "")
    if (raw.get("template") is None) == (raw.get("messages") is None):
        raise ValidationFailed(
            "a prompt has one of template (a text) and messages (a chat)",
            mend='such as {"name": "…", "template": "Sum up {{ text }}."}',
            param="template",
        )
    return NewPrompt(
        name=check_name(text_field(raw, "name", required=True)),
        template=text_field(raw, "template", longest=LONGEST_TEMPLATE),
        turns=_turns(raw.get("messages")),
        inputs=read_variables(raw.get("variables")),
        defaults=_defaults(raw.get("defaults")),
        comment=text_field(raw, "comment", longest=1000),
    )


def read_variables(raw: Any, path: str = "variables") -> tuple[Variable, ...]:
    """The variables that a body declares: ``{name: type}`` or ``{name: {type, …}}``, by name."""
    if raw is None:
        return ()
    if not isinstance(raw, Mapping):
        raise ValidationFailed(f"{path}: an object of name: type is expected", param=path)
    if len(raw) > _MOST_VARIABLES:
        raise ValidationFailed(f"{path}: at most {_MOST_VARIABLES}", param=path)
    return tuple(_variable(name, given, path) for name, given in sorted(raw.items()))


def read_targets(raw: Mapping[str, Any]) -> tuple[Target, ...]:
    """The versions a body points a label at: ``version``, or ``split`` with weights."""
    if (raw.get("version") is None) == (raw.get("split") is None):
        raise ValidationFailed("one of version and split is expected", mend='such as {"version": 3}', param="version")
    if raw.get("version") is not None:
        return (Target(_whole(raw["version"], "version", 2**31 - 1)),)
    split = raw["split"]
    if not isinstance(split, list) or not 2 <= len(split) <= _MOST_TARGETS:
        raise ValidationFailed(f"split: a list of 2 to {_MOST_TARGETS} versions is expected", param="split")
    targets = []
    for at, item in enumerate(split):
        place = f"split[{at}]"
        if not isinstance(item, Mapping):
            raise ValidationFailed(f"{place}: {{version, weight}} is expected", param=place)
        refuse_unknown(item, ("version", "weight"), place)
        version = _whole(item.get("version"), f"{place}.version", 2**31 - 1)
        targets.append(Target(version, _whole(item.get("weight"), f"{place}.weight", _MOST_WEIGHT)))
    if len({target.version for target in targets}) != len(targets):
        raise ValidationFailed("split: each version once", param="split")
    return tuple(sorted(targets, key=lambda target: target.version))


def _turns(raw: Any) -> tuple[Turn, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list) or not 1 <= len(raw) <= _MOST_TURNS:
        raise ValidationFailed(f"messages: a list of 1 to {_MOST_TURNS} messages is expected", param="messages")
    turns = []
    for at, item in enumerate(raw):
        place = f"messages[{at}]"
        if not isinstance(item, Mapping):
            raise ValidationFailed(f"{place}: an object with role and content is expected", param=place)
        refuse_unknown(item, ("role", "content"), place)
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise ValidationFailed(f"{place}.role: one of {', '.join(_ROLES)} is expected", param=f"{place}.role")
        content = text_field(item, "content", place, required=True, longest=LONGEST_TEMPLATE)
        turns.append(Turn(_ROLES[role], content))
    if sum(len(turn.content) for turn in turns) > LONGEST_TEMPLATE:
        raise ValidationFailed(f"messages: at most {LONGEST_TEMPLATE} characters in all", param="messages")
    return tuple(turns)


def _defaults(raw: Any) -> Defaults:
    if raw is None:
        return Defaults()
    if not isinstance(raw, Mapping):
        raise ValidationFailed("defaults: an object is expected", param="defaults")
    refuse_unknown(raw, ("model", "parameters", "response_format"), "defaults")
    parameters = raw.get("parameters") or {}
    checked = check_llm_parameters(parameters, "defaults.parameters")
    refuse_unknown(checked, _PARAMETERS, "defaults.parameters")
    given = {name: value for name, value in checked.items() if value is not None}
    form = _response_format(raw.get("response_format"))
    return Defaults(text_field(raw, "model", "defaults", longest=200), given, form)


def _response_format(raw: Any) -> dict[str, Any] | None:
    if raw is None:
        return None
    place = "defaults.response_format"
    if not isinstance(raw, Mapping) or raw.get("type") not in ("text", "json_object", "json_schema"):
        raise ValidationFailed(f"{place}.type: text, json_object or json_schema is expected", param=f"{place}.type")
    if raw["type"] != "json_schema":
        refuse_unknown(raw, ("type",), place)
        return {"type": raw["type"]}
    refuse_unknown(raw, ("type", "json_schema"), place)
    given = raw.get("json_schema")
    if not isinstance(given, Mapping) or not isinstance(given.get("schema"), dict):
        raise ValidationFailed(f"{place}.json_schema.schema: an object is expected", param=f"{place}.json_schema")
    refuse_unknown(given, ("name", "description", "schema", "strict"), f"{place}.json_schema")
    text_field(given, "name", f"{place}.json_schema", required=True, longest=64)
    if given.get("strict") not in (None, True, False):
        raise ValidationFailed(f"{place}.json_schema.strict: true or false is expected", param=place)
    return {"type": "json_schema", "json_schema": dict(given)}


def _variable(name: Any, raw: Any, path: str) -> Variable:
    place = f"{path}.{str(name)[:64]}"
    if not isinstance(name, str) or not name.isidentifier() or len(name) > 64 or name[0] == "_" or name in _TAKEN:
        raise ValidationFailed(f"{place}: a variable's name is a plain identifier", param=place)
    given = {"type": raw} if isinstance(raw, str) else raw
    if not isinstance(given, Mapping):
        raise ValidationFailed(f"{place}: a type, or an object with one, is expected", param=place)
    refuse_unknown(given, _FIELDS, place)
    kind = given.get("type", "any")
    if kind not in KINDS:
        raise ValidationFailed(f"{place}.type: one of {', '.join(KINDS)} is expected", param=f"{place}.type")
    for field in ("enum", "pattern", "min_length", "max_length", "minimum", "maximum"):
        if given.get(field) is not None and field not in _BOUNDS.get(kind, ()):
            raise ValidationFailed(f"{place}.{field}: the type {kind} has no such bound", param=f"{place}.{field}")
    required = given.get("required", "default" not in given)
    if not isinstance(required, bool):
        raise ValidationFailed(f"{place}.required: true or false is expected", param=f"{place}.required")
    if required and "default" in given:
        raise ValidationFailed(f"{place}: what has a default is not required", param=f"{place}.required")
    variable = Variable(
        name,
        cast(Kind, kind),
        required,
        given.get("default", UNSET),
        text_field(given, "description", place, longest=1000),
        _enum(given.get("enum"), kind, place),
        _pattern(given, place),
        _length(given, "min_length", place),
        _length(given, "max_length", place),
        _bound(given, "minimum", place),
        _bound(given, "maximum", place),
    )
    if variable.default is not UNSET and not fits(variable, variable.default):
        raise ValidationFailed(f"{place}.default: {expected(variable)} is expected", param=f"{place}.default")
    return variable


def _enum(raw: Any, kind: str, place: str) -> tuple[Any, ...]:
    if raw is None:
        return ()
    good = isinstance(raw, (list, tuple)) and 1 <= len(raw) <= 100
    if not good or not all(isinstance(item, TYPES[kind]) and not isinstance(item, bool) for item in raw):
        raise ValidationFailed(f"{place}.enum: 1 to 100 values of the type are expected", param=f"{place}.enum")
    return tuple(raw)


def _pattern(given: Mapping[str, Any], place: str) -> str:
    pattern = text_field(given, "pattern", place, longest=_LONGEST_PATTERN)
    if pattern:
        try:
            check_pattern(pattern)
        except ValueError:
            raise ValidationFailed(
                f"{place}.pattern: not a regular expression of linear time",
                mend="back-references and look-arounds are not taken",
                param=f"{place}.pattern",
            ) from None
    return pattern


def _length(given: Mapping[str, Any], name: str, place: str) -> int | None:
    value = given.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**7):
        raise ValidationFailed(f"{place}.{name}: a whole number from 0 is expected", param=f"{place}.{name}")
    return value


def _bound(given: Mapping[str, Any], name: str, place: str) -> float | None:
    value = given.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValidationFailed(f"{place}.{name}: a number is expected", param=f"{place}.{name}")
    return value


def _whole(value: Any, place: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValidationFailed(f"{place}: a whole number from 1 to {most} is expected", param=place)
    return value
