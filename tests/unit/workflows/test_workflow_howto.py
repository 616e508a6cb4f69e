"""``docs/howto/add-a-workflow.md``: its YAML and its Python say the same, but for the schema of the input."""

from __future__ import annotations

import re
from typing import Any

import yaml

from fixtures.house import CONFIG
from gateway.engine.definition import parse_definition
from gateway.workflows.task_types import known_task_types

PAGE = (CONFIG.parent / "docs/howto/add-a-workflow.md").read_text()


def block(language: str) -> str:
    return str(re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])


def test_both_ways_of_writing_give_one_definition() -> None:
    scope: dict[str, Any] = {"__name__": "quick_look"}
    exec(block("python"), scope)
    (row,) = yaml.safe_load(block("yaml"))["workflows"]
    written = scope["quick_look"]
    row["input_schema"] = written.definition()["input_schema"]
    assert written.check().hash() == parse_definition(row, known_task_types()).hash()
