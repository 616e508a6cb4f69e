"""What the tests of the house look at: every source file, parsed once, and every file of ours."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "gateway"
_NOT_OURS = {"node_modules", "__pycache__", "htmlcov", "dist", "build"}


@dataclass(frozen=True)
class Source:
    """One Python file. ``name`` is its path in the checkout; ``module`` its dotted name under ``src``."""

    name: str
    module: str
    text: str
    tree: ast.Module


def our_files() -> Iterator[Path]:
    """Every file that belongs to the project; nothing that a tool has made."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _NOT_OURS and (name[0] != "." or name == ".ci")]
        for name in files:
            if name == ".coverage" or name.endswith((".pyc", ".db")):
                continue
            yield Path(folder) / name


def sources(*folders: str) -> list[Source]:
    """The Python files under these folders of the checkout."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "__pycache__" in path.parts:
                continue
            text = path.read_text(encoding="utf-8")
            parts = list(path.relative_to(ROOT / folder).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found.append(Source(str(path.relative_to(ROOT)), ".".join(parts), text, ast.parse(text, path.name)))
    return found


def own_imports(tree: ast.AST, module: str, known: set[str]) -> set[str]:
    """The modules of ours (``known``) that ``tree`` imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: -node.level] if node.level else []
                base = ".".join([*above, base]).strip(".")
            inside = {f"{base}.{alias.name}" for alias in node.names}
            found |= (inside & known) or ({base} & known)
    return found - {module}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other (strongly connected, of two or more)."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(start: str, edges: dict[str, set[str]], into: list[str]) -> None:
        stack = [(start, iter(sorted(edges[start])))]
        seen.add(start)
        while stack:
            node, following = stack[-1]
            fresh = next((other for other in following if other not in seen), None)
            if fresh is None:
                into.append(node)
                stack.pop()
            else:
                seen.add(fresh)
                stack.append((fresh, iter(sorted(edges[fresh]))))

    for node in sorted(graph):
        if node not in seen:
            visit(node, graph, order)
    backwards: dict[str, set[str]] = {node: set() for node in graph}
    for node, edges in graph.items():
        for other in edges:
            backwards[other].add(node)
    seen.clear()
    groups: list[list[str]] = []
    for node in reversed(order):
        if node not in seen:
            group: list[str] = []
            visit(node, backwards, group)
            groups.append(sorted(group))
    return [group for group in groups if len(group) > 1]
