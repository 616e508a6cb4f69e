"""The page on prompt templates, done as it says: its files written, its commands typed, its program run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import openai
import pytest
import yaml

from fixtures.gateway_process import SOURCE
from fixtures.house import ROOT_KEY, House, running_house
from fixtures.upstream import answer, openai_answer

PAGE = (SOURCE.parent / "docs" / "howto" / "use-prompt-templates.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.upstream.play(answer(openai_answer("It is calm.")))
        yield running


@pytest.fixture(scope="module")
def said(house: House, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block of commands said, in the order of the page."""
    folder = tmp_path_factory.mktemp("page")
    first = next(body for kind, body in BLOCKS if kind == "yaml")
    (folder / "summary.yaml").write_text(first)
    command = folder / "bin" / "ai-gateway"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway.cli.main "$@"\n')
    command.chmod(0o755)
    environ = {
        **{name: value for name, value in os.environ.items() if name in ("HOME", "LANG")},
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "GATEWAY_URL": house.url,
        "GATEWAY_API_KEY": ROOT_KEY,
        "COLUMNS": "200",
    }
    told = []
    for kind, body in BLOCKS:
        if kind == "bash":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", body],
                cwd=folder,
                env=environ,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            told.append(done.stdout)
    return told


def test_a_version_is_written_rendered_and_put_into_production(said: list[str]) -> None:
    assert "✓ risk-summary@1, variables: facts, language, words" in said[0]
    assert "You are a risk analyst. Answer in French, in at most 50 words." in said[0]
    assert "- VaR is 3.3 %" in said[0]
    assert "✓ risk-summary@production → 1" in said[0]


def test_it_is_used_at_two_doors(said: list[str]) -> None:
    assert "x-gateway-prompt: risk-summary@1" in said[1]
    assert '"response":"It is calm."' in said[1]


def test_a_second_version_is_compared_tried_and_taken_back(said: list[str]) -> None:
    told = said[2]
    assert "-Sum up these facts:" in told
    assert "+Sum up these facts for a board:" in told
    assert "✓ risk-summary@production → 1 (90 %), 2 (10 %)" in told
    assert re.search(r"^\s*1\s+production\s+2\s+0\s+\$0\.00102", told, re.MULTILINE), told
    assert told.index("→ 2 (move 3)") < told.index("→ 1 (90 %), 2 (10 %) (move 4)")
    assert "the board wants figures" in told


def test_the_program_runs_with_the_official_sdk(
    house: House, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    program = textwrap.dedent(next(body for kind, body in BLOCKS if kind == "python"))
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=ROOT_KEY) as client:
        exec(compile(program, "use-prompt-templates.md", "exec"), {"client": client})
    assert capsys.readouterr().out == "It is calm.\n"
    assert said


def test_the_workflow_of_the_page_asks_the_prompt(house: House, said: list[str]) -> None:
    definition = yaml.safe_load(next(body for kind, body in BLOCKS if "workflow_id" in body))["workflows"][0]
    assert house.ask("POST", "/workflows", definition).status == 201
    run = house.ask("POST", "/workflows/summed_up/runs", {"input": {"facts": ["VaR is 3.3 %"]}}).body
    ended = house.ended(f"/runs/{run['run_id']}")
    assert ended["status"] == "completed", ended
    asked = house.upstream.sent[-1].body["messages"]
    assert "- VaR is 3.3 %" in asked[-1]["content"]
    assert said


def test_the_page_names_every_door_there_is(house: House) -> None:
    named = set(re.findall(r"/prompts[\w{}/]*", PAGE))
    assert {path for _, path in house.permissions if path.startswith("/prompts")} <= named
