"""Files of workflows: what cannot be sent is told by file and place, before anything is asked of the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.workflow_files import definitions_in
from gateway.errors import ValidationFailed


@pytest.mark.parametrize(
    ("text", "told", "mend"),
    [
        ("workflows:\n  - workflow_id: a\n    steps: [", "line 3: ", "JSON or YAML"),
        ("workflow_id: a\nsteps: [{timeout: .inf}]", "steps[0].timeout is NaN or infinite", "finite"),
        ("workflow_id: a\nsteps: [{input_mapping: {day: {value: 2026-01-31}}}]", "date", "in quotes"),
    ],
)
def test_what_json_cannot_hold_is_told_with_its_place(tmp_path: Path, text: str, told: str, mend: str) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValidationFailed) as caught:
        definitions_in(file)
    assert "flow.yaml" in caught.value.message
    assert told in caught.value.message
    assert mend in caught.value.mend


def test_keys_are_texts_whatever_yaml_makes_of_them(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(
        "base: &b {max_attempts: 2}\nworkflow_id: x\nretry: {<<: *b, on: [step_timeout], off: on, 1: yes}\n"
    )
    (found,) = definitions_in(file)
    assert found["retry"] == {"max_attempts": 2, "on": ["step_timeout"], "off": True, "1": True}
