"""The compose file: the parts there are, what each waits for, and how little each may do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "gateway", "worker", "orchestrator")
EXAMPLE = {
    "POSTGRES_PASSWORD": "ab" * 16,
    "GATEWAY_DATABASE_PASSWORD": "ba" * 16,
    "VALKEY_PASSWORD": "cd" * 16,
    "GATEWAY_JWT_SECRET": "ef" * 32,
    "GATEWAY_ADMIN_KEY": "gw-" + "01" * 32,
}


def filled(text: str, given: dict[str, str]) -> str:
    """``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` as compose fills them."""

    def value(match: re.Match[str]) -> str:
        name, rule, rest = match.group(1), match.group(2), match.group(3)
        if given.get(name):
            return given[name]
        if rule == ":-":
            return rest or ""
        raise KeyError(name)

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text)


def test_the_parts() -> None:
    assert set(SERVICES) == {*OURS, "valkey", "postgres", "prometheus"}
    assert {SERVICES[name]["image"] for name in OURS} == {"gnanam/ai-gateway:latest"}


@pytest.mark.parametrize("name", SERVICES)
def test_each_part_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    assert not {"privileged", "network_mode", "pid", "ipc"} & service.keys()


@pytest.mark.parametrize("name", OURS)
def test_our_own_parts_get_no_capability_back(name: str) -> None:
    assert "cap_add" not in SERVICES[name]
    assert SERVICES[name]["volumes"] == ["gateway-data:/data"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OURS)))
def test_foreign_images_are_pinned_to_a_version(name: str) -> None:
    assert re.fullmatch(r"[\w/]+:v?\d[\w.-]+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_part_has_a_health_check_or_says_that_it_has_none(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in ("migrate", "worker", "orchestrator"):  # no door to knock at
        assert check == {"disable": True}
    else:
        assert check["test"][0] in ("CMD", "CMD-SHELL")


def test_nothing_starts_before_what_it_needs() -> None:
    conditions = {
        (name, needed): how["condition"]
        for name, service in SERVICES.items()
        for needed, how in service.get("depends_on", {}).items()
    }
    assert conditions[("migrate", "postgres")] == "service_healthy"
    for name in ("gateway", "worker", "orchestrator"):
        assert conditions[(name, "migrate")] == "service_completed_successfully"
        assert conditions[(name, "valkey")] == "service_healthy"
    assert all(needed in SERVICES for _, needed in conditions)


def test_doors_open_on_loopback_only_and_the_stores_have_none() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"gateway", "prometheus"}
    assert all(filled(port, {}).startswith("127.0.0.1:") for listed in ports.values() for port in listed)
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if service["networks"] == ["inside"]} == {"valkey", "postgres"}


def test_secrets_come_from_the_environment_and_have_no_default() -> None:
    for missing in EXAMPLE:
        given = {name: value for name, value in EXAMPLE.items() if name != missing}
        with pytest.raises(KeyError):
            filled((ROOT / "compose.yaml").read_text(), given)
    example = (ROOT / "deploy" / "compose.env.example").read_text()
    assert all(re.search(rf"^{name}=$", example, re.MULTILINE) for name in EXAMPLE)


@pytest.mark.parametrize("name", ["gateway", "worker", "orchestrator"])
def test_the_gateway_takes_the_environment_it_is_given(name: str, tmp_path: Path) -> None:
    environ = {key: filled(str(value), EXAMPLE) for key, value in SERVICES[name]["environment"].items()}
    settings = Settings.read(environ | {"GATEWAY_DATA_DIR": str(tmp_path)})
    password = EXAMPLE["GATEWAY_DATABASE_PASSWORD"]
    assert settings.database_url == f"postgresql://gateway_service:{password}@postgres:5432/gateway"
    assert settings.broker_url == f"redis://:{EXAMPLE['VALKEY_PASSWORD']}@valkey:6379/0"
    assert settings.host != "127.0.0.1"  # another container must reach it


def test_prometheus_scrapes_the_gateway() -> None:
    mounted = SERVICES["prometheus"]["volumes"][0].split(":")[0]
    configuration = yaml.safe_load((ROOT / mounted).read_text())
    job, processes = configuration["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    key_file = job["authorization"]["credentials_file"]
    assert f'"$$GATEWAY_METRICS_KEY" > {key_file}' in SERVICES["prometheus"]["entrypoint"][-1]
    assert filled(SERVICES["prometheus"]["environment"]["GATEWAY_METRICS_KEY"], {}) == ""
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in SERVICES
    assert int(port) == 8001
    (found,) = processes["dns_sd_configs"]
    assert found["names"] == ["worker", "orchestrator"]
    for name in found["names"]:
        assert SERVICES[name]["environment"]["GATEWAY_METRICS_PORT"] == str(found["port"])


def test_only_the_upgrade_reaches_the_database_as_its_owner() -> None:
    owner = f"postgresql://gateway:{EXAMPLE['POSTGRES_PASSWORD']}@postgres:5432/gateway"
    reach = {
        name
        for name in OURS
        for value in SERVICES[name]["environment"].values()
        if EXAMPLE["POSTGRES_PASSWORD"] in filled(str(value), EXAMPLE)
    }
    assert reach == {"migrate"}
    assert filled(SERVICES["migrate"]["environment"]["GATEWAY_DATABASE_OWNER_URL"], EXAMPLE) == owner
