"""References in a step's ``input_mapping``: ``input.FIELD…`` and ``step.STEP_ID.FIELD…``, and in a step that
is done ``for_each`` of a list also ``item``, ``item.FIELD…`` and ``index``.

A mapping value is a reference (text), a literal (``{"value": …}``), or an object or list of such
values. ``step.S.result`` is the whole output of S; a name that S publishes by ``output_mapping``
is that name; ``step.S.error`` is why S failed; anything else is a field of its output.
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


class ItemRef(Struct, frozen=True):
    """``item.a``: path ("a",) in the item that is being done; ``index`` (path ``None``) its number from 0."""

    path: tuple[str, ...] | None


class Item(Struct, frozen=True):
    """One item of a list that a step is done for."""

    value: Any
    index: int


class StepOutput(Struct, frozen=True):
    """What a finished step left behind."""

    output: dict[str, Any]
    published: dict[str, Any]
    error: dict[str, Any] | None = None

    def field(self, name: str) -> Any:
        """A published name, else ``result``, else a field. ``KeyError`` if none."""
        if name in self.published:
            return self.published[name]
        if name == "result":
            return self.output
        if name == "error" and name not in self.output:
            return self.error
        return self.output[name]


Reference = InputRef | StepRef | ItemRef


def parse_reference(text: str, place: str) -> Reference:
    """The reference in ``text``. Raises ``DefinitionInvalid`` where it is none."""
    head, *rest = text.split(".")
    if all(rest) and head == "item":
        return ItemRef(tuple(rest))
    if text == "index":
        return ItemRef(None)
    if all(rest) and head == "input" and rest:
        return InputRef(tuple(rest))
    if all(rest) and head == "step" and len(rest) >= 2:
        return StepRef(rest[0], tuple(rest[1:]))
    raise DefinitionInvalid(
        f"{place}: not a reference",
        mend='write input.FIELD, step.STEP_ID.FIELD, item in a for_each, or {"value": …} for a literal',
        param=place,
    )


def references(mapping: Any, place: str) -> Iterator[tuple[str, Reference]]:
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


class Source(Struct, frozen=True):
    """Where references lead: the run's input, what its steps gave, and the item that is being done."""

    run_input: Mapping[str, Any]
    steps: Mapping[str, StepOutput]
    item: Item | None = None


def resolve(
    mapping: Mapping[str, Any],
    run_input: Mapping[str, Any],
    steps: Mapping[str, StepOutput],
    item: Item | None = None,
) -> dict[str, Any]:
    """The step's input data. A field of the run's input that is absent, and one of a step that gave nothing
    (it was skipped, or failed), is left out: the task type says whether it needs it. A path that leads
    nowhere inside a present value is an error."""
    source = Source(run_input, steps, item)
    resolved = {}
    for key, value in mapping.items():
        reference = parse_reference(value, key) if isinstance(value, str) else None
        if reference is None or not _absent(reference, source):
            resolved[key] = value_of(value, source, key)
    return resolved


def value_of(value: Any, source: Source, place: str) -> Any:
    """What one mapping value stands for. ``ValidationFailed`` for a path that leads nowhere."""
    if isinstance(value, str):
        reference = parse_reference(value, place)
        gone = isinstance(reference, StepRef) and _absent(reference, source)
        return None if gone else _followed(reference, source, value)
    if isinstance(value, dict):
        if value.keys() == {"value"}:
            return value["value"]
        return {key: value_of(inner, source, f"{place}.{key}") for key, inner in value.items()}
    return [value_of(inner, source, f"{place}[{at}]") for at, inner in enumerate(value)]


def look_up(reference: Reference, source: Source, text: str) -> Any:
    """What a condition sees: ``None`` where the reference leads nowhere."""
    if _absent(reference, source):
        return None
    try:
        return _followed(reference, source, text)
    except ValidationFailed:
        return None


def _absent(reference: Reference, source: Source) -> bool:
    if isinstance(reference, InputRef):
        return reference.path[0] not in source.run_input
    return isinstance(reference, StepRef) and reference.step_id not in source.steps


def _followed(reference: Reference, source: Source, text: str) -> Any:
    if isinstance(reference, InputRef):
        return _walk(source.run_input, reference.path, text)
    if isinstance(reference, ItemRef):
        if source.item is None:
            raise ValidationFailed(f"{text}: this step is not done for each item of a list", param=text)
        return source.item.index if reference.path is None else _walk(source.item.value, reference.path, text)
    try:
        first = source.steps[reference.step_id].field(reference.path[0])
    except KeyError:
        raise ValidationFailed(f"{text}: the step gave no such field", param=text) from None
    return _walk(first, reference.path[1:], text)


def is_index(name: str) -> bool:
    """Whether a part of a path is a place in a list: plain digits, as many as a list may have items."""
    return name.isascii() and name.isdigit() and len(name) <= 9


def _walk(value: Any, path: tuple[str, ...], reference: str) -> Any:
    for name in path:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and is_index(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise ValidationFailed(f"{reference}: there is nothing at {name!r}", param=reference)
    return value
