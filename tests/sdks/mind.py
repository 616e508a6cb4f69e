"""What the provider of the SDK tests would say: the same for every dialect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: What stands in an answer for each type of a JSON schema.
_SAMPLES: dict[str, Any] = {"string": "Paris", "integer": 21, "number": 21.5, "boolean": True, "null": None}


class Refused(Exception):
    """A request that the real API would not take."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Call:
    """A tool call."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Thought:
    """An answer: text, or calls of tools."""

    text: str = ""
    calls: tuple[Call, ...] = ()

    def pieces(self) -> list[str]:
        """The text as it is streamed."""
        return cut(self.text)


def decide(
    dialect: str,
    *,
    question: str,
    results: Sequence[str],
    tools: dict[str, dict[str, Any]],
    forced: str,
    may_call: bool,
    parallel: bool,
    schema: dict[str, Any] | None,
    encode: Any,
) -> Thought:
    """``tools``: name → schema of their arguments; ``forced``: one of them, ``any`` or nothing;
    ``results`` of the calls just made; ``schema`` of the answer, written by ``encode``."""
    if forced and forced != "any":
        return Thought(calls=(Call("call_1", forced, sample(tools[forced])),))
    if tools and may_call and (forced or not results):
        name = next(iter(tools))
        twice = parallel and "two cities" in question
        arguments = [sample(tools[name]), {**sample(tools[name]), "city": "Rome"}][: 2 if twice else 1]
        return Thought(calls=tuple(Call(f"call_{at}", name, given) for at, given in enumerate(arguments, 1)))
    if schema is not None:
        return Thought(encode(sample(schema)))
    if results:
        return Thought(f"The {dialect} provider was told: {'; '.join(results)}.")
    return Thought(f"The {dialect} provider heard: {question}")


def sample(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A value that fits a JSON schema of the simple kind that SDKs write."""
    root = schema if root is None else root
    if "$ref" in schema:
        target: Any = root
        for name in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[name]
        return sample(target, root)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return sample(schema[several][0], root)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: sample(inner, root) for name, inner in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [sample(schema.get("items") or {"type": "string"}, root)]
    return _SAMPLES[kind]


def cut(text: str) -> list[str]:
    """A text in pieces, cut where no word ends."""
    return [text[start : start + 7] for start in range(0, len(text), 7)]


def known(body: dict[str, Any], fields: frozenset[str]) -> None:
    """Refuses a field that the API does not have."""
    for name in body:
        if name not in fields:
            raise Refused(400, f"Unrecognized request argument supplied: {name}")
