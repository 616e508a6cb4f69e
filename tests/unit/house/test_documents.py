"""The documents say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import __version__
from gateway.engine.definition import parse_definition
from gateway.engine.states import RUN_MOVES, STATUS_OF_STEP, STEP_MOVES
from gateway.ledger.intents import TRANSITIONS
from gateway.registry.loader import load_catalogue
from gateway.settings import Settings
from gateway.store.batch_store import MOVES as BATCH_MOVES
from gateway.workflows.task_types import known_task_types
from unit.house.house_files import PACKAGE, ROOT, our_files

DOCS = sorted(path for path in our_files() if path.suffix == ".md")
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language, without the indentation of a list."""
    found = []
    for kind, body in FENCE.findall(path.read_text()):
        if kind == language:
            lines = body.splitlines()
            indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
            found.append("\n".join(line[indent:] for line in lines))
    return found


def page(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_checkout_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in inside if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"`((?:src|tests|tools|deploy|docs|config)/[\w./-]+\.\w+)`", path.read_text()))
    if path.name.startswith("0002-"):  # its left column is the brief's tree
        named = {name for name in named if name.startswith(f"src/{PACKAGE}/")}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_page_of_errors_is_the_one_the_code_makes() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "docs.py"), "--check"], check=False)
    assert done.returncode == 0, "run .venv/bin/python tools/docs.py"


def test_every_setting_is_explained_and_no_other() -> None:
    read = set(re.findall(r'"([A-Z][A-Z_]{5,})"', page("src/gateway/settings.py")))
    table = re.findall(r"^\| `([A-Z_]+)` \|", page("docs/guide/configuration.md"), re.MULTILINE)
    assert sorted(table) == sorted(read)


def test_defaults_are_told_as_they_are(tmp_path: Path) -> None:
    defaults = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", page("docs/guide/configuration.md"), re.MULTILINE))
    settings = Settings.read({"GATEWAY_DATA_DIR": str(tmp_path)})
    assert int(defaults["AI_GATEWAY_PORT"]) == settings.port
    assert int(defaults["METRICS_INTERVAL"]) == settings.metrics_interval
    assert defaults["GATEWAY_EXECUTOR"] == settings.executor
    assert defaults["GATEWAY_JWT_AUDIENCE"] == settings.jwt_audience
    assert defaults["GATEWAY_JWT_ISSUER"] == settings.jwt_issuer
    assert defaults["GATEWAY_LOG_LEVEL"] == settings.log_level
    assert settings.cost_tracking_enabled is (defaults["COST_TRACKING_ENABLED"] == "true")
    assert Path(defaults["GATEWAY_DATA_DIR"]).absolute() == Settings.read({}).data_dir


@pytest.mark.parametrize(
    ("number", "moves"),
    [(0, RUN_MOVES), (1, STEP_MOVES), (2, TRANSITIONS), (3, BATCH_MOVES)],
    ids=["run", "step", "hold", "batch"],
)
def test_a_drawing_of_states_shows_the_moves_of_the_code(number: int, moves: Mapping[str, Collection[str]]) -> None:
    drawn = re.findall(
        r"^\s*(\w+) --> (\w+)$", blocks(ROOT / "docs/state_machines.md", "mermaid")[number], re.MULTILINE
    )
    assert set(drawn) == {(current, following) for current, after in moves.items() for following in after}
    assert len(drawn) == len(set(drawn))


def test_every_state_of_a_step_is_explained() -> None:
    told = re.findall(r"^\| `(\w+)` \| [^|]+ \| `(\w+)` \|$", page("docs/state_machines.md"), re.MULTILINE)
    assert dict(told) == STATUS_OF_STEP


def test_every_room_is_described() -> None:
    described = set(re.findall(r"^\| `([a-z_]+)` \|", page("ARCHITECTURE.md"), re.MULTILINE))
    rooms = {path.parent.name for path in (ROOT / "src" / PACKAGE).glob("*/__init__.py")}
    assert described == rooms | {"bootstrap", "work_process", "api_process", "upkeep", "testing"}


def test_the_floors_are_drawn_as_the_contract_has_them() -> None:
    contract = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]["layers"]
    layers = [layer.replace(f"{PACKAGE}.", "") for layer in contract]
    drawing = blocks(ROOT / "ARCHITECTURE.md", "mermaid")[0]
    labels = dict(re.findall(r'(\w+)\["([^"]+)"\]', drawing))
    arrows = re.findall(r"(\w+)(?:\[[^\]]*\])? --> (\w+)", drawing)
    drawn = [arrows[0][0], *(lower for _, lower in arrows)]
    assert [labels.get(name, name) for name in drawn] == layers


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| \*\*([^*]+)\*\* \|", page("docs/glossary.md"), re.MULTILINE)
    assert len(words) > 30
    assert words == sorted(words, key=str.casefold)


def test_the_changelog_knows_this_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", page("CHANGELOG.md"), re.MULTILINE)


def _yaml_blocks(key: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for body in blocks(path, "yaml"):
            content = yaml.safe_load(body)
            if key in content:
                found.append((str(path.relative_to(ROOT)), content))
    return found


def test_the_configuration_in_the_documents_is_taken(tmp_path: Path) -> None:
    providers = yaml.safe_load(page("config/providers.yaml"))["providers"]
    models = yaml.safe_load(page("config/models.yaml"))["models"]
    rows = _yaml_blocks("providers")
    more = _yaml_blocks("models")
    assert len(rows) >= 2
    assert len(more) >= 3
    for _, content in rows:
        providers |= content["providers"]
    for _, content in more:
        models |= content["models"]
    providers["plugins"] = {"type": "python"}
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump({"providers": providers}))
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    (tmp_path / "workflows.yaml").write_text("workflows: []\n")
    catalogue = load_catalogue(tmp_path, {"INHOUSE_LLM_URL": "http://127.0.0.1:9000/v1", "INHOUSE_LLM_KEY": "k"})
    assert {"house-llm", "parrot"} <= set(catalogue.models)
    assert catalogue.provider("inhouse").configured


def test_the_workflows_in_the_documents_can_run() -> None:
    found = _yaml_blocks("workflows")
    assert found
    for _, content in found:
        for raw in content["workflows"]:
            assert parse_definition(raw, known_task_types()).steps
