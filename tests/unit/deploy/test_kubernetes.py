"""The Kubernetes manifests: valid by the API's own schemas, as the platform expects them, and hardened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
#: The oldest and the newest Kubernetes that the manifests must fit.
VERSIONS = ("1.30", kubernetes_validate.latest_version())


def documents(name: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all((FOLDER / name).read_text()) if document]


def applied() -> Iterator[dict[str, Any]]:
    """What ``kubectl apply --kustomize`` sends."""
    for name in documents("kustomization.yaml")[0]["resources"]:
        yield from documents(name)


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [document for document in applied() if document["kind"] in kinds]


WORKLOADS = of_kind("Deployment", "Job")


def named(kind: str, name: str) -> dict[str, Any]:
    return next(document for document in of_kind(kind) if document["metadata"]["name"] == name)


def container(workload: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = workload["spec"]["template"]["spec"]["containers"]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", [*applied(), *documents("secret.example.yaml")], ids=lambda d: d["kind"])
def test_each_manifest_fits_the_api(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_would_notice_a_mistake() -> None:
    wrong = {**named("Deployment", "ai-gateway"), "spec": {"replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_every_file_is_applied_except_the_kustomization_and_the_example() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert set(documents("kustomization.yaml")[0]["resources"]) == files


def test_the_api_deployment_is_the_one_the_platform_names() -> None:
    deployment = named("Deployment", "ai-gateway")
    spec = deployment["spec"]
    assert deployment["apiVersion"] == "apps/v1"
    assert spec["replicas"] == 3
    assert spec["selector"] == {"matchLabels": {"app": "ai-gateway"}}
    assert spec["template"]["metadata"]["labels"]["app"] == "ai-gateway"
    runs = container(deployment)
    assert runs["name"] == "ai-gateway"
    assert runs["image"] == "gnanam/ai-gateway:latest"
    assert [port["containerPort"] for port in runs["ports"]] == [8001]
    key = next(variable for variable in runs["env"] if variable["name"] == "OPENAI_API_KEY")
    assert key["valueFrom"] == {"secretKeyRef": {"name": "ai-secrets", "key": "openai-key"}}


def test_the_api_does_not_run_steps_itself() -> None:
    assert container(named("Deployment", "ai-gateway"))["command"] == ["python", "src/ai_gateway.py", "--api-only"]
    assert container(named("Deployment", "ai-gateway-worker"))["command"] == ["ai-gateway", "worker"]
    assert container(named("Deployment", "ai-gateway-orchestrator"))["command"] == ["ai-gateway", "orchestrate"]
    assert container(named("Job", "ai-gateway-migrate"))["command"] == ["ai-gateway", "db", "upgrade"]


def test_the_orchestrator_stands_twice() -> None:
    assert named("Deployment", "ai-gateway-orchestrator")["spec"]["replicas"] == 2


@pytest.mark.parametrize("workload", of_kind("Deployment"), ids=lambda d: d["metadata"]["name"])
def test_each_process_gets_every_secret_it_needs(workload: dict[str, Any]) -> None:
    given = {variable["name"]: variable for variable in container(workload)["env"]}
    assert set(given) == {
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "DATABASE_URL",
        "CELERY_BROKER_URL",
        "GATEWAY_JWT_SECRET",
        "GATEWAY_ADMIN_KEY",
    }


def test_secrets_come_by_reference_and_the_example_names_each_and_holds_none() -> None:
    example = documents("secret.example.yaml")[0]
    wanted = set()
    for workload in WORKLOADS:
        for variable in container(workload)["env"]:
            assert "value" not in variable
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == example["metadata"]["name"]
            wanted.add(reference["key"])
    assert wanted == set(example["stringData"])
    assert set(example["stringData"].values()) == {""}
    assert not of_kind("Secret")


def test_the_configuration_map_holds_no_secret() -> None:
    data = named("ConfigMap", "ai-gateway-env")["data"]
    assert not [name for name in data if name.endswith(("_KEY", "_SECRET", "DATABASE_URL", "BROKER_URL"))]


def test_the_port_variable_is_ours_and_not_the_one_kubernetes_makes_of_the_service() -> None:
    # For a Service called ai-gateway, pods are given AI_GATEWAY_PORT=tcp://…, which is no port number.
    assert named("ConfigMap", "ai-gateway-env")["data"]["AI_GATEWAY_PORT"] == "8001"
    for workload in WORKLOADS:
        assert workload["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_the_service_leads_to_the_api_pods() -> None:
    service = named("Service", "ai-gateway")["spec"]
    labels = named("Deployment", "ai-gateway")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    (port,) = service["ports"]
    names = {port["name"]: port["containerPort"] for port in container(named("Deployment", "ai-gateway"))["ports"]}
    assert (port["port"], names[port["targetPort"]]) == (8001, 8001)
    assert not named("Deployment", "ai-gateway-worker")["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("name", ["ai-gateway-worker", "ai-gateway-orchestrator"])
def test_prometheus_finds_the_page_of_each_process_that_has_no_door(name: str) -> None:
    workload = named("Deployment", name)
    settings = Settings.read({**named("ConfigMap", "ai-gateway-env")["data"], "GATEWAY_DATA_DIR": "/data"}, dev=True)
    (port,) = container(workload)["ports"]
    assert (port["name"], port["containerPort"]) == ("metrics", settings.metrics_port)
    assert settings.metrics_port > 1023, "nobody is root there"
    found = workload["spec"]["template"]["metadata"]["annotations"]
    assert found == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(settings.metrics_port),
        "prometheus.io/path": "/metrics",
    }


def test_nothing_scrapes_without_a_key_what_asks_for_one_and_no_service_leads_to_what_does_not() -> None:
    for workload in (named("Deployment", "ai-gateway"), named("Job", "ai-gateway-migrate")):
        assert "annotations" not in workload["spec"]["template"]["metadata"]
    pages = {port["name"] for one in WORKLOADS for port in container(one).get("ports", ())} - {"http"}
    assert pages == {"metrics"}
    assert not [
        port for service in of_kind("Service") for port in service["spec"]["ports"] if port["targetPort"] in pages
    ]


def test_probes_ask_the_health_doors() -> None:
    runs = container(named("Deployment", "ai-gateway"))
    assert runs["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert runs["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert runs["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_a_drain_leaves_two_api_pods() -> None:
    budget = named("PodDisruptionBudget", "ai-gateway")["spec"]
    assert budget == {"minAvailable": 2, "selector": {"matchLabels": {"app": "ai-gateway"}}}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda d: d["metadata"]["name"])
def test_nothing_runs_with_more_rights_than_it_needs(workload: dict[str, Any]) -> None:
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container(workload)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda d: d["metadata"]["name"])
def test_what_must_be_writable_is_a_volume(workload: dict[str, Any]) -> None:
    volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container(workload)["volumeMounts"]}
    assert set(mounts) == {"/data", "/tmp"}
    assert all("emptyDir" in volume for volume in mounts.values())


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda d: d["metadata"]["name"])
def test_memory_is_bounded(workload: dict[str, Any]) -> None:
    resources = container(workload)["resources"]
    assert resources["requests"].keys() >= {"cpu", "memory"}
    assert "memory" in resources["limits"]


def test_no_manifest_names_a_namespace() -> None:
    assert not [document for document in applied() if "namespace" in document["metadata"]]
