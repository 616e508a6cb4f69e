"""The command line as a whole: its list of commands, and what it costs to ask for it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

from gateway.cli.main import COMMANDS, main, make_app


def test_the_list_names_every_command_and_loads_none() -> None:
    code = """
import sys
from gateway.cli.main import main
try:
    main(["--help"])
finally:
    loaded = [name for name in ("gateway.bootstrap", "sqlalchemy", "numpy") if name in sys.modules]
    print("loaded:", loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout
    for name, (_, _, text) in COMMANDS.items():
        assert name in done.stdout
        assert text.split()[0] in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_help_of_its_own(name: str) -> None:
    module, attribute, text = COMMANDS[name]
    assert hasattr(import_module(f"gateway.cli.{module}"), attribute)
    shown = CliRunner().invoke(make_app([name]), [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert text.split()[0] in shown.output


def test_a_command_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["modles", "list"])
    assert ended.value.code == 2
    assert "No such command 'modles'" in capsys.readouterr().err
