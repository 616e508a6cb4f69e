"""``doctor`` says what is wrong with the configuration, and what a running service does about it."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.doctor import _checks
from gateway.settings import Settings


def test_a_bad_file_is_told(tmp_path: Path) -> None:
    for name in ("providers", "models", "workflows"):
        (tmp_path / f"{name}.yaml").write_text(f"{name}: {{")
    settings = Settings.read(
        {"GATEWAY_CONFIG_DIR": str(tmp_path), "GATEWAY_DATA_DIR": str(tmp_path / "data")}, dev=True
    )
    problem = dict(_checks(settings))["configuration files"]
    assert "providers.yaml" in problem
    assert "a running service keeps the last good ones" in problem
