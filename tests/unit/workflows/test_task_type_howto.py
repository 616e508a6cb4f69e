"""``docs/howto/add-a-task-type.md``, followed from an empty folder: its package installed, tested, served."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fixtures.house import CONFIG, running_house
from fixtures.upstream import answer, openai_answer
from gateway.cli.workflows import make_app
from gateway.workflows.task_types import installed_workflows

ROOT = CONFIG.parent
PAGE = (ROOT / "docs/howto/add-a-task-type.md").read_text()
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's folder, with what an installation of its package leaves beside the module."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = tmp_path / "our_steps-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    points = (f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in rows.items()) for group, rows in groups)
    (info / "entry_points.txt").write_text("\n".join(points))
    return tmp_path


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("our_steps", None)


def test_the_page_holds_the_files_it_speaks_of() -> None:
    assert set(FILES) == {"our_steps.py", "pyproject.toml", "test_our_steps.py"}


def test_its_own_tests_pass(folder: Path) -> None:
    path = os.pathsep.join([str(folder), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_our_steps.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_service_finds_it_and_runs_it(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_house(tmp_path_factory.mktemp("house")) as house:
        house.services.desk.adopt(installed_workflows())
        (shown,) = [row for row in house.ask("GET", "/task-types").body["task_types"] if row["name"] == "concentration"]
        assert shown["input_schema"]["properties"]["largest_share"]["maximum"] == 1
        refused = house.ask("POST", "/tasks", {"task_type": "concentration", "input_data": {"values": {"A": "x"}}})
        assert (refused.status, refused.body["param"]) == (422, "input_data.values.A")
        given = {"task_type": "concentration", "input_data": {"values": {"A": 3, "B": 1}}}
        task = house.ended(f"/tasks/{house.ask('POST', '/tasks', given).body['task_id']}")
        assert task["result"] == {"herfindahl": 0.625, "shares": {"A": 0.75, "B": 0.25}, "over_limit": ["A"]}
        assert house.ask("GET", f"/runs/{task['run_id']}/lineage").body["steps"][0]["versions"]["our-steps"] == "1.0"
        assert house.ask("GET", "/workflows/book_report").body["name"] == "Book report"


def test_a_file_of_workflows_is_defined_by_the_command_line(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("house")
    with running_house(folder) as house:
        monkeypatch.setenv("GATEWAY_URL", house.url)
        monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
        done = CliRunner().invoke(make_app(), ["define", str(installed / "our_steps.py")])
        assert (done.exit_code, "book_report version" in done.output) == (0, True), done.output
        (folder / "flow.yaml").write_text(
            "workflow_id: asks\nsteps:\n- {step_id: a, task_type: llm_analysis, model_config: {name: gpt-4}, "
            "input_mapping: {prompt: input.q}}\n"
        )
        done = CliRunner().invoke(make_app(), ["define", str(folder / "flow.yaml")])
        assert (done.exit_code, "asks version" in done.output) == (0, True), done.output
        house.upstream.play(answer(openai_answer("Yes.")))
        run_id = house.ask("POST", "/workflows/asks/runs", {"input": {"q": "Is it?"}}).body["run_id"]
        assert house.ended(f"/runs/{run_id}")["status"] == "completed"
        for name, text, told in (
            ("broken.py", "1 / 0", "ZeroDivisionError"),
            ("empty.py", "x = 1", "holds no workflow"),
            ("bad.yaml", "a: [", "cannot be read"),
        ):
            (folder / name).write_text(text)
            done = CliRunner().invoke(make_app(), ["define", str(folder / name)])
            assert told in str(done.exception), done.output
