"""The command line against a running gateway: what people type, what programs read, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.gateway_process import SOURCE, GatewayProcess
from fixtures.house import ROOT_KEY, House, running_house
from fixtures.upstream import answer, openai_answer


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def typed(house: House, *arguments: str, key: str = ROOT_KEY, **environ: str) -> subprocess.CompletedProcess[str]:
    """``ai-gateway`` with these arguments, as in a terminal that is none."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    given = {**kept, "PYTHONPATH": str(SOURCE), "GATEWAY_URL": house.url, "GATEWAY_API_KEY": key, **environ}
    command = [sys.executable, "-m", "gateway.cli.main", *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)


def read(house: House, *arguments: str) -> Any:
    done = typed(house, *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_run_is_started_and_followed_to_its_end(house: House, tmp_path: Path) -> None:
    step = {
        "step_id": "ask",
        "task_type": "llm_analysis",
        "model_config": {"name": "gpt-4"},
        "input_mapping": {"prompt": "input.question"},
    }
    definition = tmp_path / "ask.json"
    definition.write_text(json.dumps({"workflow_id": "ask", "steps": [step]}))
    assert typed(house, "workflows", "define", str(definition)).returncode == 0
    assert "ask" in typed(house, "workflows", "list").stdout
    house.upstream.play(answer(openai_answer("Because.")))
    followed = typed(house, "workflows", "run", "ask", "--data", '{"question": "Why?"}', "--follow")
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "completed" in followed.stdout
    house.upstream.play(answer({"error": {"message": "no"}}, 400))
    failed = typed(house, "workflows", "run", "ask", "--data", '{"question": "Why?"}', "--follow")
    assert failed.returncode == 10
    assert "upstream_rejected" in failed.stdout + failed.stderr
    assert [run["status"] for run in read(house, "workflows", "runs")["runs"]][:2] == ["failed", "completed"]
    tasks = read(house, "tasks", "list")["tasks"]
    shown = typed(house, "tasks", "show", tasks[-1]["task_id"])
    assert json.loads(shown.stdout)["result"]["response"] == "Because."


def test_keys_and_budgets(house: House) -> None:
    made = read(house, "keys", "create", "reporting", "--role", "developer", "--model", "gpt-*", "--budget", "0.05")
    assert made["key"].startswith("gw-")
    assert "reporting" in typed(house, "keys", "list").stdout
    assert made["key"] not in typed(house, "keys", "list").stdout
    assert any(budget["subject"] == made["id"] for budget in read(house, "budgets", "list")["budgets"])
    assert typed(house, "keys", "revoke", made["id"]).returncode == 0
    capped = read(house, "budgets", "create", "team", "risk", "100", "--window", "day")
    assert capped["limit_usd"] == 100
    assert typed(house, "budgets", "end", capped["id"]).returncode == 0


def test_prompts_models_and_usage(house: House, tmp_path: Path) -> None:
    template = tmp_path / "hello.j2"
    template.write_text("Hello {{ name }}!")
    assert typed(house, "prompts", "add", "hello", str(template)).returncode == 0
    assert typed(house, "prompts", "render", "hello", "--var", "name=Ada").stdout.strip() == "Hello Ada!"
    wrong = typed(house, "prompts", "render", "hello", "--var", "nome=Ada")
    assert (wrong.returncode, "no such variable" in wrong.stderr) == (6, True)
    assert "smollm2" in typed(house, "models", "list").stdout
    assert "rows" in read(house, "usage")


@pytest.mark.parametrize(
    ("arguments", "key", "status"),
    [
        (("keys", "list"), "gw-wrong", 4),
        (("tasks", "show", "task_none"), ROOT_KEY, 5),
        (("budgets", "create", "planet", "*", "1"), ROOT_KEY, 6),
        (("workflows", "run", "nothing"), ROOT_KEY, 5),
        (("workflows", "run", "ask", "--data", "{nonsense"), ROOT_KEY, 6),
        (("nothing",), ROOT_KEY, 2),
    ],
)
def test_the_exit_status_is_that_of_the_error(house: House, arguments: tuple[str, ...], key: str, status: int) -> None:
    done = typed(house, *arguments, key=key)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_nobody_at_the_address(house: House) -> None:
    done = typed(house, "models", "list", GATEWAY_URL="http://127.0.0.1:9")
    assert done.returncode == 8
    assert "mend" in done.stderr


def test_configuration_and_proofs_need_no_service(house: House, tmp_path: Path) -> None:
    assert typed(house, "config", "validate").returncode == 0
    folder = tmp_path / "config"
    folder.mkdir()
    for name in ("providers", "models", "workflows"):
        (folder / f"{name}.yaml").write_text("models: {x: {type: lm}}\n" if name == "models" else f"{name}: []\n")
    wrong = typed(house, "config", "validate", GATEWAY_CONFIG_DIR=str(folder))
    assert wrong.returncode == 3
    assert ".yaml:1" in wrong.stderr
    data = {"GATEWAY_DATA_DIR": str(tmp_path / "data")}
    (tmp_path / "data").mkdir()
    for command in (("db", "upgrade"), ("ledger", "verify"), ("audit", "verify")):
        assert typed(house, *command, **data).returncode == 0, command
    doctor = typed(house, "doctor", "--json", **data, OPENAI_API_KEY="sk-very-secret-0123456789")
    assert "sk-very-secret" not in doctor.stdout
    assert json.loads(doctor.stdout)["checks"]["database"] == "ok"


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="how signals are taken is read from /proc")
def test_a_service_asked_to_read_its_files_again_goes_on(gateway: GatewayProcess) -> None:
    """Without a terminal, as under systemd: ``kill -HUP`` is no end."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn:")).split()[1], 16)
    assert ignored & (1 << (signal.SIGHUP - 1))
    gateway.process.send_signal(signal.SIGHUP)
    assert gateway.request("GET", "/healthz")[0] == 200
    assert gateway.process.poll() is None
