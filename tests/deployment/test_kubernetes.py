"""Every overlay is rendered by kubectl and validated strictly; its values agree with each other and with the server."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from server.settings import PREFIX, Settings
from tests.deployment.tools import DEPLOY, program, succeed

jsonschema = pytest.importorskip("jsonschema", reason="tests/deployment/requirements.txt is not installed")
yaml = pytest.importorskip("yaml", reason="tests/deployment/requirements.txt is not installed")

OVERLAYS = ("base", "overlays/keda", "overlays/hpa", "overlays/gpu")
VERSIONS = ("1.33", "1.37")
SCALED_OBJECT = json.loads((Path(__file__).parent / "schemas/scaledobject.json").read_text())


@cache
def rendered(overlay: str) -> list[Any]:
    kubectl = program("kubectl", "a Kubernetes client from 1.27 on")
    told = re.search(r"Kustomize Version: v(\d+)", succeed(kubectl, "version", "--client"))
    if told is None or int(told[1]) < 5:
        pytest.skip("this kubectl renders with a kustomize before 5, which knows no `labels`; 1.27 or later does")
    return list(yaml.safe_load_all(succeed(kubectl, "kustomize", DEPLOY / "kubernetes" / overlay)))


def one(overlay: str, kind: str) -> Any:
    (found,) = (document for document in rendered(overlay) if document["kind"] == kind)
    return found


def validate(document: Any, version: str) -> None:
    if document["kind"] == "ScaledObject":
        jsonschema.validate(document, SCALED_OBJECT)
    else:
        pytest.importorskip("kubernetes_validate").validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_valid(overlay: str, version: str) -> None:
    documents = rendered(overlay)
    assert {"Deployment", "Service", "PodDisruptionBudget", "ServiceAccount", "NetworkPolicy"} <= {
        document["kind"] for document in documents
    }
    for document in documents:
        validate(document, version)


def test_misspelt_fields_are_seen() -> None:
    deployment = json.loads(json.dumps(one("base", "Deployment")))
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(Exception, match="readynessProbe"):
        validate(deployment, VERSIONS[0])
    scaled = json.loads(json.dumps(one("overlays/keda", "ScaledObject")))
    scaled["spec"]["triggers"][0]["metadata"]["treshold"] = "1"
    with pytest.raises(jsonschema.ValidationError, match="treshold"):
        validate(scaled, VERSIONS[0])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_the_servers(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(one(overlay, "ConfigMap"), monkeypatch)
    pod = one(overlay, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.port, "metrics": settings.metrics_port}
    assert settings.host == "0.0.0.0"
    (keys,) = container["volumeMounts"]
    assert settings.api_keys_file is not None
    assert str(settings.api_keys_file.parent) == keys["mountPath"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_utterances_end_within_the_grace_period(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(one(overlay, "ConfigMap"), monkeypatch)
    pod = one(overlay, "Deployment")["spec"]["template"]["spec"]
    assert settings.drain_s >= settings.utterance_s
    assert pod["terminationGracePeriodSeconds"] >= settings.drain_delay_s + settings.drain_s + 10
    readiness = pod["containers"][0]["readinessProbe"]
    assert settings.drain_delay_s > readiness["periodSeconds"] * readiness["failureThreshold"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_run_unprivileged_on_a_read_only_root(overlay: str) -> None:
    pod = one(overlay, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/ready"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_the_pods(overlay: str) -> None:
    deployment = one(overlay, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        one(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(overlay, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one(overlay, "Service")["spec"]["selector"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


@pytest.mark.parametrize("overlay", ["overlays/keda", "overlays/hpa"])
def test_the_autoscaler_owns_the_replica_count(overlay: str) -> None:
    assert "replicas" not in one(overlay, "Deployment")["spec"]
    kind = "ScaledObject" if overlay.endswith("keda") else "HorizontalPodAutoscaler"
    assert one(overlay, kind)["spec"]["scaleTargetRef"]["name"] == one(overlay, "Deployment")["metadata"]["name"]


def test_gpu_pods_ask_for_one_gpu() -> None:
    (container,) = one("overlays/gpu", "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"].endswith("-cuda")
    assert {one["name"]: one["value"] for one in container["env"]} == {f"{PREFIX}DEVICE": "cuda"}
    image = (DEPLOY / "docker/Dockerfile.cuda").read_text()
    written = re.search(r"-m models\.gpu_graphs (\S+)", image)
    assert written is not None
    assert f"{PREFIX}GPU_FORM={written[1]} " in image


def settings_of(config: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    variables: Iterable[tuple[str, str]] = config["data"].items()
    for name, value in variables:
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields, f"{name} is no setting"
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert math.isfinite(settings.drain_s)
    return settings
