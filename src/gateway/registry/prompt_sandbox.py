"""The language of prompt templates: Jinja2 without what could reach out, run on, or grow without bound.

Any caller may send a template, so its work is bounded as well as its reach: loops count their turns,
values have a longest length, macros and recursion are left out, and only plain methods are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_VALUE = 1_000_000
MOST_TURNS = 100_000
_LARGEST_NUMBER = 10**30
_TURNS = "__turns"

_FILTERS = (
    "abs", "batch", "capitalize", "count", "d", "default", "dictsort", "escape", "e", "first", "float", "groupby",
    "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round",
    "select", "selectattr", "slice", "sort", "string", "title", "tojson", "trim", "truncate", "unique", "upper",
    "wordcount",
)  # fmt: skip
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset({"lower", "upper", "strip", "lstrip", "rstrip", "split", "splitlines", "startswith", "endswith"})
    | {"title", "capitalize", "count", "find"},
    dict: frozenset({"items", "keys", "values", "get"}),
    list: frozenset({"count", "index"}),
}
_LEFT_OUT = (nodes.Macro, nodes.CallBlock, nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends, nodes.Block)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and renders one template language; thread safe."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False)
        self.globals = {"range": _range}
        known = self.filters
        own: dict[str, Callable[..., Any]] = {"join": _join, "replace": _replace, "sum": _sum}
        self.filters = {name: known[name] for name in _FILTERS} | own | {"__counted": _counted, "__concat": _concat}

    def render(self, text: str, variables: Mapping[str, Any]) -> str:
        """The text, its length bounded while it grows. Raises what Jinja raises, and ``SecurityError``."""
        pieces: list[str] = []
        size = 0
        for piece in self.from_string(text).generate({**variables, _TURNS: [0]}):
            size += len(piece)
            if size > LONGEST_VALUE:
                raise SecurityError(f"the text is longer than {LONGEST_VALUE} characters")
            pieces.append(piece)
        return "".join(pieces)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(_LEFT_OUT):
            raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not part of prompt templates", node.lineno)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise TemplateSyntaxError("recursive loops are not part of prompt templates", loop.lineno)
            loop.iter = nodes.Filter(loop.iter, "__counted", [], [], None, None, lineno=loop.lineno)
        return _bounded_concats(tree)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; texts and lists only grow by ``+``, and not without end."""
        numbers = all(isinstance(value, (int, float)) for value in (left, right))
        if operator == "+" and not numbers:
            if _size(left) + _size(right) > LONGEST_VALUE:
                raise SecurityError("the value grows too long")
        elif not numbers:
            raise SecurityError(f"{operator!r} takes two numbers")
        elif operator == "**" and (abs(right) > 64 or abs(left) > 10**6):
            raise SecurityError("the power is too large")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and abs(result) > _LARGEST_NUMBER:
            raise SecurityError("the number is too large")
        return result

    def is_safe_callable(self, obj: Any) -> bool:
        """``range``, ``loop.cycle`` and the like, and the plain methods of values."""
        if obj is _range:
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        return any(isinstance(owner, kind) and name in allowed for kind, allowed in _METHODS.items())


def _bounded_concats(tree: nodes.Template) -> nodes.Template:
    """Every ``a ~ b`` as a filter that looks at the lengths first."""

    def visit(node: nodes.Node) -> nodes.Node:
        for field, value in node.iter_fields():
            if isinstance(value, nodes.Node):
                setattr(node, field, visit(value))
            elif isinstance(value, list):
                value[:] = [visit(item) if isinstance(item, nodes.Node) else item for item in value]
        if isinstance(node, nodes.Concat):
            line = node.lineno
            return nodes.Filter(nodes.List(node.nodes, lineno=line), "__concat", [], [], None, None, lineno=line)
        return node

    visit(tree)
    tree.set_environment(tree.environment) if tree.environment else None
    return tree


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    turns: list[int] = context[_TURNS]
    for item in items:
        turns[0] += 1
        if turns[0] > MOST_TURNS:
            raise SecurityError(f"the loops take more than {MOST_TURNS} turns")
        yield item


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > MOST_TURNS:
        raise SecurityError(f"a range has at most {MOST_TURNS} numbers")
    return made


def _concat(values: list[Any]) -> str:
    return _join(values)


def _join(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    texts = [str(item[attribute] if attribute else item) for item in values]
    if sum(map(len, texts)) + len(separator) * len(texts) > LONGEST_VALUE:
        raise SecurityError("the value grows too long")
    return separator.join(texts)


def _replace(value: Any, old: str, new: str) -> str:
    text = str(value)
    if len(text) + text.count(old) * len(new) > LONGEST_VALUE:
        raise SecurityError("the value grows too long")
    return text.replace(old, new)


def _sum(values: Iterable[Any], attribute: str | None = None, start: float = 0) -> Any:
    numbers = [item[attribute] if attribute else item for item in values]
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise SecurityError("sum takes numbers")
    return sum(numbers, start)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 1
