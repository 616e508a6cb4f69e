"""References in a step's ``input_mapping``: ``input.FIELD…`` and ``step.STEP_ID.FIELD…``.

A mapping value is a reference (text), a literal (``{"value": …}``), or an object or list of such
values. ``step.S.result`` is the whole output of S; a name that S publishes by ``output_mapping``
is that name; anything else is a field of its output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from gateway.errors import DefinitionInvalid, ValidationFailed


class InputRef(Struct, frozen=True):
    """``input.a.b``: path ("a", "b") in the run's input."""

    path: tuple[str, ...]


class StepRef(Struct, frozen=True):
    """``step.s.a.b``: path ("a", "b") in what step s gave."""

    step_id: str
    path: tuple[str, ...]


class StepOutput(Struct, frozen=True):
    """What a finished step left behind."""

    output: dict[str, Any]
    published: dict[str, Any]

    def field(self, name: str) -> Any:
        """A published name, else ``result``, else a field. ``KeyError`` if none."""
        if name in self.published:
            return self.published[name]
        if name == "result":
            return self.output
        return self.output[name]


def parse_reference(text: str, place: str) -> InputRef | StepRef:
    """The reference in ``text``. Raises ``DefinitionInvalid`` where it is none."""
    head, *rest = text.split(".")
    if all(rest) and head == "input" and rest:
        return InputRef(tuple(rest))
    if all(rest) and head == "step" and len(rest) >= 2:
        return StepRef(rest[0], tuple(rest[1:]))
    raise DefinitionInvalid(
        f"{place}: not a reference",
        mend='write input.FIELD, step.STEP_ID.FIELD, or {"value": …} for a literal',
        param=place,
    )


def references(mapping: Any, place: str) -> Iterator[tuple[str, InputRef | StepRef]]:
    """(place, reference) of every reference in a mapping, in order."""
    if isinstance(mapping, str):
        yield place, parse_reference(mapping, place)
    elif isinstance(mapping, dict):
        if mapping.keys() != {"value"}:
            for key, value in mapping.items():
                yield from references(value, f"{place}.{key}")
    elif isinstance(mapping, list):
        for at, value in enumerate(mapping):
            yield from references(value, f"{place}[{at}]")
    else:
        raise DefinitionInvalid(
            f'{place}: a mapping value is a reference, or a literal as {{"value": …}}',
            mend='wrap literals: {"value": 3}',
            param=place,
        )


def resolve(
    mapping: Mapping[str, Any], run_input: Mapping[str, Any], steps: Mapping[str, StepOutput]
) -> dict[str, Any]:
    """The step's input data. A field of the run's input that is absent is left out (the task type
    says whether it needs it); a path that leads nowhere inside a present value is an error."""
    resolved = {}
    for key, value in mapping.items():
        reference = parse_reference(value, key) if isinstance(value, str) else None
        if isinstance(reference, InputRef) and reference.path[0] not in run_input:
            continue
        resolved[key] = _value(value, run_input, steps, key)
    return resolved


def _value(value: Any, run_input: Mapping[str, Any], steps: Mapping[str, StepOutput], place: str) -> Any:
    if isinstance(value, str):
        reference = parse_reference(value, place)
        if isinstance(reference, InputRef):
            return _walk(run_input, reference.path, value)
        try:
            first = steps[reference.step_id].field(reference.path[0])
        except KeyError:
            raise ValidationFailed(f"{value}: the step gave no such field", param=value) from None
        return _walk(first, reference.path[1:], value)
    if isinstance(value, dict):
        if value.keys() == {"value"}:
            return value["value"]
        return {key: _value(inner, run_input, steps, f"{place}.{key}") for key, inner in value.items()}
    return [_value(inner, run_input, steps, f"{place}[{at}]") for at, inner in enumerate(value)]


def _walk(value: Any, path: tuple[str, ...], reference: str) -> Any:
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise ValidationFailed(f"{reference}: there is nothing at {name!r}", param=reference)
    return value
