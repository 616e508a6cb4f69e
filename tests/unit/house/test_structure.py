"""The habits of the house, checked on the syntax of every file (ARCHITECTURE.md, docs/decisions/0002)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from unit.house.house_files import PACKAGE, ROOT, Source, cycles, our_files, own_imports, sources

MOST_LINES = 400
SRC = sources("src")
CODE = [*SRC, *sources("tests"), *sources("tools")]
KNOWN = {source.module for source in SRC if source.module}
ROOMS = {path.name for path in (ROOT / "src" / PACKAGE).iterdir() if (path / "__init__.py").is_file()}
#: Rooms where decisions are made: importing them must cost nothing.
LIGHT = ("models", "registry", "ledger", "security", "engine", "routing", "governance", "events")
HEAVY = ("numpy", "scipy", "pandas", "sklearn", "lightgbm", "pyarrow", "celery", "fastapi", "starlette",
         "sqlalchemy", "aiohttp", "typer", "rich")  # fmt: skip
#: They compute with arrays, which is their whole purpose.
MAY_USE_NUMPY = {"gateway.governance.fairness", "gateway.governance.explanation"}


def where(found: Iterator[tuple[Source, ast.AST]]) -> list[str]:
    return [f"{source.name}:{getattr(node, 'lineno', 1)}" for source, node in found]


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def test_there_is_something_to_check() -> None:
    assert len(SRC) > 40
    assert {"gateway.errors", "gateway.cli.main", "index"} <= KNOWN


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    lengths = {source.name: len(source.text.splitlines()) for source in CODE}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_every_module_says_what_it_is_for() -> None:
    assert [source.name for source in [*SRC, *sources("tools")] if not ast.get_docstring(source.tree)] == []


def test_no_import_of_ours_hides_in_a_function() -> None:
    hidden = [
        f"{source.name}:{function.lineno}"
        for source in SRC
        for function in functions(source)
        if own_imports(function, source.module, KNOWN)
    ]
    assert hidden == []


def test_modules_do_not_import_each_other_in_a_ring() -> None:
    graph = {source.module: own_imports(source.tree, source.module, KNOWN) for source in SRC if source.module}
    assert cycles(graph) == []


def test_a_ring_would_be_noticed() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    tree = ast.parse("def f():\n    from gateway.ledger import entry\n    import gateway.errors\n")
    known = {"gateway.ledger", "gateway.ledger.entry", "gateway.errors"}
    assert own_imports(tree, "gateway.x", known) == {"gateway.ledger.entry", "gateway.errors"}


def test_no_function_changes_its_module() -> None:
    assert where((s, node) for s in CODE for node in ast.walk(s.tree) if isinstance(node, ast.Global)) == []


def test_no_module_keeps_state() -> None:
    """An empty container at the top of a module is there to be filled: state that no caller handed over."""
    makers = {"dict", "list", "set", "defaultdict", "deque", "OrderedDict", "Counter", "WeakValueDictionary"}

    def is_empty_container(value: ast.expr | None) -> bool:
        if isinstance(value, ast.Dict):
            return not value.keys
        if isinstance(value, ast.List):
            return not value.elts
        if isinstance(value, ast.Call) and not value.args:
            function = value.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            return name in makers
        return False

    found = (
        (source, node)
        for source in SRC
        for node in source.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_empty_container(node.value)
    )
    assert where(found) == []


def test_no_exception_is_swallowed() -> None:
    def does_nothing(handler: ast.ExceptHandler) -> bool:
        return all(
            isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            for node in handler.body
        )

    found = (
        (source, node)
        for source in CODE
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or does_nothing(node))
    )
    assert where(found) == []


def test_only_narrow_errors_are_suppressed() -> None:
    def is_wide(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("suppress", "contextlib.suppress")):
            return False
        return any(ast.unparse(argument) in ("Exception", "BaseException") for argument in node.args)

    assert where((source, node) for source in CODE for node in ast.walk(source.tree) if is_wide(node)) == []


def test_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders - ROOMS - {"deploy", "house"} == set(), "a folder of tests for no room"
    tested = {name for name in folders if any((ROOT / "tests" / "unit" / name).glob("test_*.py"))}
    assert ROOMS - tested == set(), "a room without tests"


def test_no_package_registry_is_named() -> None:
    """Where packages come from is the business of whoever installs them."""
    pieces = ("py|pi.org", "python|hosted.org", "npm|js.", "registry.|npm", "conda.|anaconda.org",
              "proxy.|golang.org", "crates|.io")  # fmt: skip
    hosts = [piece.replace("|", "") for piece in pieces]
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in our_files()
        for host in hosts
        if host.encode() in path.read_bytes()
    ]
    assert found == []


def test_requirement_files_are_pinned_by_hash_and_lead_nowhere() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-llm.txt"):
        lines = (ROOT / name).read_text().splitlines()
        packages = [number for number, line in enumerate(lines) if line and not line.startswith((" ", "#", "-"))]
        assert packages, name
        assert [lines[number] for number in packages if "==" not in lines[number]] == []
        assert [lines[number] for number in packages if "--hash=sha256:" not in lines[number + 1]] == []
        assert [line for line in lines if line.startswith("-") or "://" in line.partition("#")[0]] == []


@pytest.mark.parametrize("room", LIGHT)
def test_a_room_of_decisions_is_light(room: str) -> None:
    """Each module of the room, imported in a fresh interpreter, brings no framework with it."""
    modules = sorted(m for m in KNOWN if m.startswith(f"{PACKAGE}.{room}") and m not in MAY_USE_NUMPY)
    code = (
        "import sys, importlib\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import gateway; print(sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['gateway']"
