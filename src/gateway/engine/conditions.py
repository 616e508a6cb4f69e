"""``when``: a small expression over what a run was given and what its steps gave; no code, no calls.

``a == b`` (``!= < <= > >=``), ``a in b``, ``a not in b``, ``not``, ``and``, ``or``, parentheses. An operand
is ``input.FIELD…``, ``step.STEP_ID.FIELD…``, a number, a text in quotes, ``true``, ``false``, ``null``,
or a list of operands in brackets. What leads nowhere is ``null``. Order is told only between two numbers or two
texts: anything else is an error, never quietly false.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from gateway.engine.mapping import InputRef, StepRef, parse_reference
from gateway.errors import DefinitionInvalid, ValidationFailed

LONGEST = 2000
_DEEPEST = 32
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<reference>(?:input|step)(?:\.[\w-]+)+)
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'[^'\\]*')
    | (?P<word>[A-Za-z_]\w*)
    | (?P<sign>==|!=|<=|>=|[<>()\[\],])
    )""",
    re.VERBOSE,
)
_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_CONSTANTS = {"true": True, "false": False, "null": None}

#: What a reference stands for; ``None`` where it leads nowhere.
Look = Callable[[InputRef | StepRef, str], Any]


class Node(Struct, frozen=True):
    """A part of an expression: what it does, to which parts, or with which value."""

    kind: str
    parts: tuple[Node, ...] = ()
    value: Any = None


class _Reader:
    """Reads one expression, from the loosest bond to the tightest."""

    def __init__(self, text: str, place: str) -> None:
        self._place = place
        self._tokens = list(self._cut(text))
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._any()
        if self._at < len(self._tokens):
            self._refuse(f"{self._tokens[self._at][1]!r} is not expected here")
        return node

    def _cut(self, text: str) -> Iterator[tuple[str, str]]:
        at, text = 0, text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                self._refuse(f"{text[at:].lstrip()[:20]!r} cannot be read")
            assert found is not None  # noqa: S101 - _refuse raises
            yield str(found.lastgroup), found[str(found.lastgroup)]
            at = found.end()

    def _take(self, *words: str) -> str | None:
        """The next token, where it is one of the words or signs."""
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if kind in ("word", "sign") and text in words:
                self._at += 1
                return text
        return None

    def _any(self) -> Node:
        self._deeper()
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Node("or", tuple(parts))

    def _all(self) -> Node:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else Node("and", tuple(parts))

    def _negation(self) -> Node:
        odd = False
        while self._take("not"):
            odd = not odd
        node = self._comparison()
        return Node("not", (node,)) if odd else node

    def _comparison(self) -> Node:
        left = self._operand()
        sign = self._take(*_COMPARISONS, "in", "not")
        if sign is None:
            return left
        if sign == "not":
            if not self._take("in"):
                self._refuse("'not' is followed by 'in' here")
            return Node("not", (Node("in", (left, self._operand())),))
        return Node(sign, (left, self._operand()))

    def _operand(self) -> Node:
        if self._take("("):
            node = self._any()
            self._expect(")")
            return node
        if self._take("["):
            return self._list()
        if self._at >= len(self._tokens):
            self._refuse("it ends where an operand is expected")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "reference":
            return Node("reference", value=(parse_reference(text, self._place), text))
        if kind == "number":
            return Node("value", value=json.loads(text) if not _leading_zero(text) else float(text))
        if kind == "text":
            return Node("value", value=self._unquoted(text))
        if kind == "word" and text in _CONSTANTS:
            return Node("value", value=_CONSTANTS[text])
        self._refuse(f"{text!r} is no operand; one is input.FIELD, step.STEP_ID.FIELD, a number, a text in quotes")
        raise AssertionError  # _refuse raises

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse("it is nested too deeply")

    def _list(self) -> Node:
        self._deeper()
        items: list[Node] = []
        while not self._take("]"):
            if items:
                self._expect(",")
            items.append(self._operand())
        self._depth -= 1
        return Node("list", tuple(items))

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            self._refuse(f"{sign!r} is missing")

    def _unquoted(self, text: str) -> str:
        if text[0] == "'":
            return text[1:-1]
        try:
            return str(json.loads(text))
        except ValueError:
            self._refuse(f"{text[:20]} is no text as JSON writes it")
            raise

    def _refuse(self, why: str) -> None:
        raise DefinitionInvalid(
            f"{self._place}: {why}",
            mend="such as: input.amount > 1000 and step.check.risk_level != 'low'",
            param=self._place,
        )


def parse_condition(text: Any, place: str) -> Node:
    """The expression. ``DefinitionInvalid`` with the place where it is none."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        raise DefinitionInvalid(
            f"{place}: an expression of 1 to {LONGEST} characters", mend="such as: input.amount > 1000", param=place
        )
    return _Reader(text, place).whole()


def condition_references(node: Node) -> Iterator[InputRef | StepRef]:
    """Every reference in it."""
    if node.kind == "reference":
        yield node.value[0]
    for part in node.parts:
        yield from condition_references(part)


def holds(node: Node, look: Look) -> bool:
    """Whether it is true. ``ValidationFailed`` where it compares what has no order."""
    return bool(_value(node, look))


def _value(node: Node, look: Look) -> Any:
    if node.kind == "value":
        return node.value
    if node.kind == "reference":
        return look(*node.value)
    if node.kind == "list":
        return [_value(part, look) for part in node.parts]
    if node.kind == "not":
        return not _value(node.parts[0], look)
    if node.kind == "and":
        return all(_value(part, look) for part in node.parts)
    if node.kind == "or":
        return any(_value(part, look) for part in node.parts)
    left, right = (_value(part, look) for part in node.parts)
    return _compared(node, left, right)


def _compared(node: Node, left: Any, right: Any) -> bool:
    if node.kind in ("==", "!="):
        return _same(left, right) is (node.kind == "==")
    if node.kind == "in":
        if isinstance(right, str) and isinstance(left, str):
            return left in right
        if isinstance(right, dict):
            return isinstance(left, str) and left in right
        if not isinstance(right, list):
            raise ValidationFailed(
                f"{shown(node.parts[1])} is {_kind(right)}: 'in' looks in a list, an object or a text"
            )
        return any(_same(left, item) for item in right)
    if not (_number(left) and _number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise ValidationFailed(
            f"{shown(node.parts[0])} is {_kind(left)} and {shown(node.parts[1])} is {_kind(right)}: "
            f"{node.kind!r} orders two numbers or two texts",
            mend="ask first whether it is there: step.a.n != null and step.a.n > 3",
        )
    if node.kind in ("<", ">="):
        return bool(left < right) is (node.kind == "<")
    return bool(left > right) is (node.kind == ">")


def _same(left: Any, right: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _leading_zero(text: str) -> bool:
    digits = text.lstrip("-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), "something else")


def shown(node: Node) -> str:
    """An operand as errors speak of it."""
    return str(node.value[1]) if node.kind == "reference" else "a value"
