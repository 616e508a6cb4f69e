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


def test_it_is_told_where_artifacts_lie_and_whether_they_can(tmp_path: Path) -> None:
    def told(place: Path) -> str:
        settings = Settings.read({"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_ARTIFACTS": str(place)}, dev=True)
        return dict(_checks(settings))[f"artifacts kept in {place}"]

    assert told(tmp_path / "shared") == ""
    (tmp_path / "file").touch()
    assert "cannot be kept" in told(tmp_path / "file")
