"""Files that hold workflows: JSON, YAML, or Python with ``Workflow`` objects in it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import yaml

from gateway.errors import GatewayError, ValidationFailed
from gateway.models.finite import no_number
from gateway.workflows.workflow import Workflow


class _TextKeys(yaml.SafeLoader):
    """Keys are texts, as in JSON: to YAML ``on`` is true, which no field of a definition is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def definitions_in(file: Path) -> list[Any]:
    """The definitions of a file. Python is run here, as the person who gives the command; what goes to the
    service is the definition. ``ValidationFailed`` says what is wrong with the file."""
    if file.suffix == ".py":
        return [flow.definition() for flow in _workflows_of(file)]
    try:
        text = file.read_text(encoding="utf-8")
        raw = json.loads(text) if file.suffix == ".json" else yaml.load(text, _TextKeys)  # noqa: S506 - it is a safe loader
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValidationFailed(
            f"{file.name} cannot be read: {line}{error.problem}", mend="write one definition, as JSON or YAML"
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValidationFailed(
            f"{file.name} cannot be read: {str(error).splitlines()[0]}", mend="write one definition, as JSON or YAML"
        ) from None
    try:
        json.dumps(raw)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationFailed(
            f"{file.name} holds what JSON cannot: {str(error)[:200]}", mend="put dates and times in quotes"
        ) from None
    place = no_number(raw)
    if place is not None:
        raise ValidationFailed(f"{file.name}: {place} is NaN or infinite", mend="give a finite number, or leave it out")
    found = raw.get("workflows", [raw]) if isinstance(raw, dict) else [raw]
    return list(found) if isinstance(found, list) else [found]


def _workflows_of(file: Path) -> list[Workflow]:
    try:
        names = runpy.run_path(str(file), run_name=file.stem)
    except GatewayError:
        raise
    except Exception as error:  # whatever the file does wrong is told in one line
        raise ValidationFailed(
            f"{file.name} cannot be run: {type(error).__name__}: {str(error)[:300]}", mend="run it with Python to see"
        ) from error
    found = [value for value in names.values() if isinstance(value, Workflow)]
    if not found:
        raise ValidationFailed(f"{file.name} holds no workflow", mend="make a Workflow at the top of the file")
    return found
