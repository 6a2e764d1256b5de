"""The RayService: its own fields by a schema of ours, its pods by Kubernetes', its application by Ray's where Ray is.

No cluster reads it here.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.settings import PREFIX, Settings
from tests.deployment.test_kubernetes import VERSIONS
from tests.deployment.test_ray import PYTHON
from tests.deployment.tools import DEPLOY

jsonschema = pytest.importorskip("jsonschema", reason="tests/deployment/requirements.txt is not installed")
yaml = pytest.importorskip("yaml", reason="tests/deployment/requirements.txt is not installed")

SCHEMA = json.loads((Path(__file__).parent / "schemas/rayservice.json").read_text())
APP = (DEPLOY / "ray/app.py").read_text()
SERVE_SCHEMA = """
import json, sys
from ray.serve.schema import ServeDeploySchema
ServeDeploySchema.model_validate(json.load(sys.stdin))
"""


def service() -> Any:
    return yaml.safe_load((DEPLOY / "ray/rayservice.yaml").read_text())


def groups(document: Any) -> list[Any]:
    cluster = document["spec"]["rayClusterConfig"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def application(document: Any) -> Any:
    (found,) = yaml.safe_load(document["spec"]["serveConfigV2"])["applications"]
    return found


def validate(document: Any, version: str) -> None:
    jsonschema.validate(document, SCHEMA)
    kubernetes = pytest.importorskip("kubernetes_validate")
    for group in groups(document):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of-a-group"}} | group["template"]
        kubernetes.validate(pod, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_service_is_valid(version: str) -> None:
    validate(service(), version)


@pytest.mark.parametrize(
    ("path", "misspelt"),
    [
        (("spec",), "rayClusterDeletionDelay"),
        (("spec", "rayClusterConfig"), "inTreeAutoscaling"),
        (("spec", "rayClusterConfig", "headGroupSpec"), "startParams"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0), "maximum"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "template", "spec"), "terminationGracePeriod"),
        (("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "containers", 0), "resource"),
    ],
)
def test_misspelt_fields_are_seen(path: tuple[str | int, ...], misspelt: str) -> None:
    document = copy.deepcopy(service())
    place = document
    for step in path:
        place = place[step]
    place[misspelt] = 1
    with pytest.raises(Exception, match=misspelt):
        validate(document, VERSIONS[0])


def test_the_application_is_one_that_the_app_file_makes() -> None:
    asked = application(service())
    module, _, name = asked["import_path"].partition(":")
    assert module == "app"
    assert re.search(rf"^{name} = (\w+)\.bind\(\)$", APP, re.MULTILINE)
    (deployment,) = asked["deployments"]
    assert f"class {deployment['name']}:" in APP


@pytest.mark.skipif(not PYTHON.exists(), reason="Ray is not installed here; `make test-ray` installs it")
def test_ray_reads_the_application() -> None:
    asked = json.dumps(yaml.safe_load(service()["spec"]["serveConfigV2"]))
    done = subprocess.run([str(PYTHON), "-c", SERVE_SCHEMA], input=asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_versions_and_settings_are_the_ones_that_exist() -> None:
    document = service()
    (version,) = re.findall(r"^ray\[serve\]==(\S+)", (DEPLOY / "ray/requirements.txt").read_text(), re.MULTILINE)
    assert document["spec"]["rayClusterConfig"]["rayVersion"] == version
    for group in groups(document):
        for variable in group["template"]["spec"]["containers"][0]["env"]:
            if variable["name"].startswith(PREFIX):
                assert variable["name"].removeprefix(PREFIX).lower() in Settings.model_fields, variable


def test_old_pods_outlast_the_longest_utterance() -> None:
    document = service()
    (leaves_s,) = re.findall(r"^_LEAVES_S = ([\d.]+)", APP, re.MULTILINE)
    waits_s = [document["spec"]["rayClusterDeletionDelaySeconds"], float(leaves_s)]
    for group in groups(document):
        pod = group["template"]["spec"]
        environment = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
        utterance_s, drain_s = (float(environment[PREFIX + name]) for name in ("UTTERANCE_S", "DRAIN_S"))
        assert drain_s >= utterance_s
        waits_s += [pod["terminationGracePeriodSeconds"], float(environment["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"])]
        assert min(waits_s) > drain_s


def test_as_many_pods_as_replicas_can_be_started() -> None:
    """A replica takes a worker's cores, so that each needs a pod of its own."""
    document = service()
    cluster = document["spec"]["rayClusterConfig"]
    scaling = application(document)["deployments"][0]["autoscaling_config"]
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert (workers["minReplicas"], workers["maxReplicas"]) == (scaling["min_replicas"], scaling["max_replicas"])
    (cores,) = re.findall(r'ray_actor_options=\{"num_cpus": (\d+)\}', APP)
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == cores
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
