"""The language of prompt templates: Jinja2 without what could reach out, run on, or grow without bound.

Any caller may send a template, so its work is bounded as well as its reach: loops count their turns,
values have a longest length wherever they are made, the whole has its seconds, macros and recursion
are left out, and only plain methods are called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_VALUE = 1_000_000
MOST_TURNS = 100_000
#: Seconds of computing that one text may take: what a busy machine does meanwhile is not counted.
MOST_SECONDS = 1.0
_LARGEST_NUMBER = 10**30
_TURNS = "__turns"
_KEPT_COMPILED = 256
#: When this thread's computing time for the text at hand is over.
_over: ContextVar[float | None] = ContextVar("prompt_over", default=None)

_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "escape", "e", "first", "float", "groupby",
    "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse",
    "select", "selectattr", "sort", "string", "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset({"lower", "upper", "strip", "lstrip", "rstrip", "split", "splitlines", "startswith", "endswith"})
    | {"title", "capitalize", "count", "find"},
    dict: frozenset({"items", "keys", "values", "get"}),
    list: frozenset({"count", "index"}),
}
_LEFT_OUT = (
    nodes.Macro, nodes.CallBlock, nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends, nodes.Block,
    nodes.AssignBlock, nodes.FilterBlock,
)  # fmt: skip


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and renders one template language; thread safe."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False)
        self.globals = {"range": _range}
        known = self.filters
        own: dict[str, Callable[..., Any]] = {"join": _join, "replace": _replace, "sum": _sum, "round": _round}
        own |= {"tojson": _tojson(known["tojson"]), "batch": _batch(known["batch"]), "slice": _slice(known["slice"])}
        bounded = {name: _bounded(use) for name, use in ({name: known[name] for name in _FILTERS} | own).items()}
        self.filters = bounded | {"__counted": _counted, "__concat": _bounded(_join), "__made": _made}
        self._compiled = lru_cache(_KEPT_COMPILED)(self.from_string)

    def render(self, text: str, variables: Mapping[str, Any]) -> str:
        """The text, its length bounded while it grows. Raises what Jinja raises, and ``SecurityError``."""
        return self.render_all([text], variables)[0]

    def render_all(self, texts: Iterable[str], variables: Mapping[str, Any]) -> list[str]:
        """Several texts with the same variables, under one set of bounds."""
        turns, size, rendered = [0], 0, []
        token = _over.set(time.thread_time() + MOST_SECONDS)
        try:
            for text in texts:
                pieces: list[str] = []
                for piece in self._compiled(text).generate({**variables, _TURNS: turns}):
                    _in_time()
                    size += len(piece)
                    if size > LONGEST_VALUE:
                        raise SecurityError(f"the text is longer than {LONGEST_VALUE} characters")
                    pieces.append(piece)
                rendered.append("".join(pieces))
        finally:
            _over.reset(token)
        return rendered

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(_LEFT_OUT):
            raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not part of prompt templates", node.lineno)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise TemplateSyntaxError("recursive loops are not part of prompt templates", loop.lineno)
            loop.iter = nodes.Filter(loop.iter, "__counted", [], [], None, None, lineno=loop.lineno)
        return _bounded_makers(tree)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; texts and lists only grow by ``+``, and not without end."""
        _in_time()
        numbers = all(isinstance(value, (int, float)) for value in (left, right))
        if operator == "+" and not numbers:
            _weigh([left, right])
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


def _bounded_makers(tree: nodes.Template) -> nodes.Template:
    """Every ``a ~ b``, ``[…]``, ``(…)`` and ``{…}`` as a filter that looks at the lengths."""

    def visit(node: nodes.Node) -> nodes.Node:
        for field, value in node.iter_fields():
            if isinstance(value, nodes.Node):
                setattr(node, field, visit(value))
            elif isinstance(value, list):
                value[:] = [visit(item) if isinstance(item, nodes.Node) else item for item in value]
        line = node.lineno
        if isinstance(node, nodes.Concat):
            return nodes.Filter(nodes.List(node.nodes, lineno=line), "__concat", [], [], None, None, lineno=line)
        if isinstance(node, (nodes.List, nodes.Dict)) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
            return nodes.Filter(node, "__made", [], [], None, None, lineno=line)
        return node

    visit(tree)
    tree.set_environment(tree.environment) if tree.environment else None
    return tree


def _in_time() -> None:
    over = _over.get()
    if over is not None and time.thread_time() > over:
        raise SecurityError(f"the template takes more than {MOST_SECONDS:g} seconds")


def _weigh(value: Any) -> None:
    """``SecurityError`` for a value that would be too long a text: what is in it several times counts so often."""
    weight, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        weight += len(item) if isinstance(item, str) else 1
        if weight > LONGEST_VALUE:
            raise SecurityError("the value grows too long")
        if isinstance(item, Mapping):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item


def _bounded(use: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is told the time, and takes no value that is too long."""

    @wraps(use)
    def bounded(*given: Any, **named: Any) -> Any:
        _in_time()
        for value in (*given, *named.values()):
            if isinstance(value, (str, list, tuple, Mapping)):
                _weigh(value)
        return use(*given, **named)

    return bounded


def _made(value: Any) -> Any:
    _in_time()
    _weigh(value)
    return value


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    turns: list[int] = context[_TURNS]
    for item in items:
        _in_time()
        turns[0] += 1
        if turns[0] > MOST_TURNS:
            raise SecurityError(f"the loops take more than {MOST_TURNS} turns")
        yield item


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > MOST_TURNS:
        raise SecurityError(f"a range has at most {MOST_TURNS} numbers")
    return made


def _join(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    texts = []
    for item in values:
        _made(item)
        texts.append(str(item[attribute] if attribute else item))
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


def _round(value: float, precision: int = 0, method: str = "common") -> Any:
    if method != "common" or not isinstance(precision, int) or abs(precision) > 30:
        raise SecurityError("round takes a number of digits up to 30")
    return round(value, precision)


def _tojson(use: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(use)
    def tojson(context: Any, value: Any, indent: int | None = None) -> Any:
        if indent is not None and not (isinstance(indent, int) and 0 <= indent <= 8):
            raise SecurityError("tojson takes an indent of 0 to 8")
        return use(context, value, indent)

    return tojson


def _batch(use: Callable[..., Any]) -> Callable[..., Any]:
    def batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> Any:
        return use(value, _count(linecount), fill_with)

    return batch


def _slice(use: Callable[..., Any]) -> Callable[..., Any]:
    def sliced(value: Iterable[Any], slices: int, fill_with: Any = None) -> Any:
        return use(list(value), _count(slices), fill_with)

    return sliced


def _count(given: Any) -> int:
    if not isinstance(given, int) or not 1 <= given <= 1000:
        raise SecurityError("a number of rows from 1 to 1000 is expected")
    return given
