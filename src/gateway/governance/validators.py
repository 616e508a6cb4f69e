"""Input as it comes from outside: decoded once, strictly, and refused with the place of what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.errors import BadRequest, ValidationFailed

LARGEST_BODY = 10 * 1024 * 1024
_DEEPEST = 100
#: The mark of the encoding, which some editors write; and how what is compressed begins.
_MARK, _GZIP = b"\xef\xbb\xbf", b"\x1f\x8b"
_LARGEST_INTEGER = 2**63
#: Parameters of a language model: (kind, lowest, highest).
LLM_PARAMETERS: Mapping[str, tuple[str, float, float]] = {
    "temperature": ("number", 0, 2),
    "top_p": ("number", 0, 1),
    "max_tokens": ("integer", 1, 1_000_000),
    "seed": ("integer", -(2**63), 2**63 - 1),
    "n": ("integer", 1, 16),
    "presence_penalty": ("number", -2, 2),
    "frequency_penalty": ("number", -2, 2),
    "stop": ("texts", 0, 16),
    "reasoning_effort": ("text", 0, 32),
}


def decode_json(body: bytes) -> Any:
    """The JSON value of a request body. ``BadRequest`` says where it breaks."""
    if not body.strip():
        raise BadRequest("the body is empty", mend="send a JSON object")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if body.startswith(_MARK):
            return decode_json(body.removeprefix(_MARK))
        if body.startswith(_GZIP):
            raise BadRequest("the body is compressed", mend="send it as it is, without Content-Encoding") from None
        raise BadRequest(
            f"the body is not valid JSON: {str(error)[:120]}", mend="send one JSON object in UTF-8"
        ) from None
    except RecursionError:
        raise BadRequest("the body is nested too deep", mend=f"use at most {_DEEPEST} levels") from None
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _too_deep(value):
        raise BadRequest("the body is nested too deep", mend=f"use at most {_DEEPEST} levels")
    if b"\\u0000" in body and _holds_nul(value):
        raise BadRequest("the body has a NUL character in a text", mend="remove \\u0000")
    if _SPACED.search(body) or not _plain(value, body.count(b'":')):
        _ambiguity.decode(body.decode())
    return value


#: The end of a name that stands apart from its colon.
_SPACED = re.compile(rb'"[ \t\n\r]+:')


def _plain(value: Any, most_names: int) -> bool:
    """Whether the value holds no number near the bounds and all of the body's names, which are ``most_names``
    at the most: then none is there twice."""
    names = 0
    rest: list[Any] = [[value]]
    for item in rest:
        inner: Iterable[Any] = item
        if type(item) is dict:
            names += len(item)
            inner = item.values()
        for each in inner:
            kind = type(each)
            if kind is dict or kind is list:
                rest.append(each)
            elif (kind is int or kind is float) and not -_LARGEST_INTEGER < each < _LARGEST_INTEGER:
                return False
    return names == most_names


def _one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"the field {twice[:60]!r} is there twice in one object", mend="give each field once")
    return found


def _bounded(digits: str) -> int:
    number = int(digits)
    if not -_LARGEST_INTEGER <= number < _LARGEST_INTEGER:
        raise BadRequest("the body has a whole number of more than 64 bits", mend="write it as a text, or smaller")
    return number


#: Finds what a lenient reader would pass over, and two readers might take differently.
_ambiguity = json.JSONDecoder(object_pairs_hook=_one_of_each, parse_int=_bounded)


def decode_object(body: bytes) -> dict[str, Any]:
    """As ``decode_json``, for bodies that are objects."""
    value = decode_json(body)
    if not isinstance(value, dict):
        raise ValidationFailed("the body is not an object", mend="send a JSON object: {…}")
    return value


def refuse_unknown(raw: Mapping[str, Any], known: Iterable[str], path: str) -> None:
    """``ValidationFailed`` for a field that nobody would read."""
    names = list(known)
    for key in raw:
        if key not in names:
            place = f"{path}.{key}" if path else str(key)
            raise ValidationFailed(
                f"{place[:100]}: no such field", mend=f"the fields here are: {', '.join(names)}", param=place[:100]
            )


def text_field(
    raw: Mapping[str, Any], name: str, path: str = "", *, required: bool = False, longest: int = 100_000
) -> str:
    """A text of the object, empty where it is absent and not required."""
    place = f"{path}.{name}" if path else name
    value = raw.get(name)
    if value is None:
        if required:
            raise ValidationFailed(f"{place} is missing", param=place)
        return ""
    if not isinstance(value, str):
        raise ValidationFailed(f"{place}: a text is expected", param=place)
    if required and not value:
        raise ValidationFailed(f"{place} is empty", param=place)
    if len(value) > longest:
        raise ValidationFailed(f"{place}: at most {longest} characters", param=place)
    return value


def whole_field(
    raw: Mapping[str, Any], name: str, path: str, low: int, high: int, default: int | None = None
) -> int | None:
    """A whole number of the object within bounds."""
    value = raw.get(name)
    if value is None:
        return default
    place = f"{path}.{name}" if path else name
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationFailed(f"{place}: a whole number from {low} to {high} is expected", param=place)
    return value


def check_llm_parameters(parameters: Any, path: str) -> dict[str, Any]:
    """The parameters of a language model, known by name and in range."""
    if not isinstance(parameters, dict):
        raise ValidationFailed(f"{path}: an object is expected", param=path)
    refuse_unknown(parameters, LLM_PARAMETERS, path)
    for name, value in parameters.items():
        kind, low, high = LLM_PARAMETERS[name]
        place = f"{path}.{name}"
        if value is None:
            continue
        if kind == "texts":
            texts = [value] if isinstance(value, str) else value
            good = (
                isinstance(texts, list) and len(texts) <= high and all(isinstance(item, str) and item for item in texts)
            )
            expected = f"a text, or a list of up to {int(high)} texts"
        elif kind == "text":
            good, expected = isinstance(value, str) and len(value) <= high, "a short text"
        else:
            types = (int,) if kind == "integer" else (int, float)
            good = isinstance(value, types) and not isinstance(value, bool) and low <= value <= high
            expected = f"{'a whole number' if kind == 'integer' else 'a number'} from {low:g} to {high:g}"
        if not good:
            raise ValidationFailed(f"{place}: {expected} is expected", param=place)
    return parameters


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_holds_nul(inner) for inner in value)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
