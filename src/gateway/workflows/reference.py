"""References to what a run will have, written in Python: a field of its input, of what a step gave, of an item."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from gateway.errors import DefinitionInvalid


class Reference:
    """A place in the run's input, in what a step gave, or in an item; deeper by attribute or by ``[…]``.
    Its text is what stands in the definition."""

    __slots__ = ("_fields", "_shape", "_text")

    def __init__(self, text: str, shape: Any = None, fields: tuple[str, ...] | None = None) -> None:
        self._text = text
        self._shape = shape
        self._fields = fields

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str | int) -> Reference:
        known, shape = self._fields, self._shape
        if inspect.isclass(shape) and issubclass(shape, BaseModel):
            known = tuple(field.alias or key for key, field in shape.model_fields.items())
        if known is not None and name not in known:
            raise DefinitionInvalid(
                f"{self._text} has no {str(name)!r}", mend=f"it has: {', '.join(known)}", param=self._text
            )
        return Reference(f"{self._text}.{name}", _inner(shape, name))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<{self._text}>"

    def __bool__(self) -> bool:
        raise TypeError(f"{self._text} has no value while the workflow is written; conditions stand in when=…")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self._text} has no items while the workflow is written; use for_each=…")


class Step(Reference):
    """A step that was added; its fields are what it gives. As a value it stands for all of that."""

    __slots__ = ("_step_id",)

    def __init__(self, step_id: str, fields: tuple[str, ...] | None, shape: Any) -> None:
        super().__init__(f"step.{step_id}", None, fields)
        self._step_id = step_id
        self._shape = shape

    def __getitem__(self, name: str | int) -> Reference:
        if self._fields is not None and name not in self._fields:
            raise DefinitionInvalid(
                f"{self._text} gives no {str(name)!r}", mend=f"it gives: {', '.join(self._fields)}", param=self._text
            )
        return Reference(f"{self._text}.{name}", self._shape if name == "result" else _inner(self._shape, name))


#: In a step with ``for_each``: the item that is being done, and its number from 0.
each = Reference("item")
each_index = Reference("index")


def _inner(shape: Any, name: str | int) -> Any:
    """The type of a field, or of a list's item, where it is known."""
    if inspect.isclass(shape) and issubclass(shape, BaseModel):
        by_name = {field.alias or key: field for key, field in shape.model_fields.items()}
        return _bare(by_name[str(name)].annotation) if str(name) in by_name else None
    if get_origin(shape) in (list, tuple, Sequence) and str(name).isdigit():
        return _bare(get_args(shape)[0])
    return None


def _bare(annotation: Any) -> Any:
    """The type without its ``| None``."""
    if get_origin(annotation) in (Union, UnionType):
        inner = [item for item in get_args(annotation) if item is not type(None)]
        return inner[0] if len(inner) == 1 else None
    return annotation
