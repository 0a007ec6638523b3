"""The manifests for Kubernetes against its schemas, and against what the image and Prefect need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prefect.utilities.templating import apply_values

from tests.support.containers import DEPLOYMENTS, stages

FOLDER = DEPLOYMENTS / "kubernetes"
VERSION = kubernetes_validate.latest_version()
FILES = ("settings.yaml", "secret.example.yaml", "worker.yaml", "upgrade.yaml", "cronjob.yaml")
POOL: dict[str, Any] = json.loads((FOLDER / "work-pool.json").read_text())


def job_of_pool() -> dict[str, Any]:
    """The Job that a worker makes of the pool's defaults, for a run with a command and an environment."""
    defaults = {name: about.get("default") for name, about in POOL["variables"]["properties"].items()}
    run = {
        "name": "calm-otter",
        "command": ["prefect", "flow-run", "execute"],
        "env": [{"name": "PREFECT_API_URL", "value": "http://prefect:4200/api"}],
    }
    job: dict[str, Any] = apply_values(POOL["job_configuration"]["job_manifest"], defaults | run)
    return job


MANIFESTS = {
    f"{name}: {manifest['kind']}": manifest
    for name in FILES
    for manifest in yaml.safe_load_all((FOLDER / name).read_text("utf-8"))
} | {"work-pool.json: Job": job_of_pool()}


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """What each kind of pod is made from."""
    for name, manifest in MANIFESTS.items():
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield name, spec["template"]["spec"]


PODS = dict(pods())


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in PODS.items():
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            yield f"{name}, {container['name']}", container


CONTAINERS = dict(containers())


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_as_the_schema_of_its_kind(name: str) -> None:
    manifest = json.loads(json.dumps(MANIFESTS[name]))
    if name.startswith("work-pool"):
        for key in ("parallelism", "completions"):  # Prefect demands them in the pod, where Kubernetes ignores them
            assert manifest["spec"]["template"]["spec"].pop(key) == 1

    assert VERSION.startswith(kubernetes_validate.validate(manifest, VERSION, strict=True))


def test_a_wrong_manifest_is_refused() -> None:
    manifest = json.loads(json.dumps(MANIFESTS["cronjob.yaml: CronJob"]))
    manifest["spec"]["schedul"] = manifest["spec"].pop("schedule")

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_as_the_user_of_the_image(name: str) -> None:
    (user,) = (rest.split(":")[0] for word, rest in stages()[-1] if word == "USER")
    security = PODS[name]["securityContext"]

    assert security["runAsNonRoot"]
    assert (security["runAsUser"], security["runAsGroup"]) == (int(user), int(user))


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_writes_to_tmp_alone_and_has_limits(name: str) -> None:
    container = CONTAINERS[name]
    security = container["securityContext"]

    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["/tmp"]
    assert {"cpu", "memory"} == set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_one_version_and_no_password(name: str) -> None:
    container = CONTAINERS[name]

    assert re.fullmatch(r"[\w/]+:\d+\.\d+\.\d+[\w.-]*", container["image"])
    assert [one["name"] for one in container.get("env", []) if "PASSWORD" in one["name"]] == []


def test_a_worker_has_the_locked_version_of_prefect() -> None:
    locked = re.search(r"^prefect==(\S+)", (DEPLOYMENTS.parent / "requirements.lock").read_text(), re.MULTILINE)

    assert locked is not None
    image = CONTAINERS["worker.yaml: Deployment, worker"]["image"]
    assert image == f"prefecthq/prefect:{locked[1]}-python3.11-kubernetes"


def test_a_worker_is_asked_whether_it_is_alive() -> None:
    worker = CONTAINERS["worker.yaml: Deployment, worker"]
    (port,) = worker["ports"]

    assert "--with-healthcheck" in worker["command"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert worker[probe]["httpGet"] == {"path": "/health", "port": port["name"]}


@pytest.mark.parametrize("name", ["work-pool.json: Job, prefect-job", "cronjob.yaml: CronJob, cycles"])
def test_a_cycle_reads_addresses_and_the_password(name: str) -> None:
    sources = CONTAINERS[name]["envFrom"]

    assert sources == [
        {"configMapRef": {"name": MANIFESTS["settings.yaml: ConfigMap"]["metadata"]["name"]}},
        {"secretRef": {"name": MANIFESTS["secret.example.yaml: Secret"]["metadata"]["name"]}},
    ]
    assert set(MANIFESTS["secret.example.yaml: Secret"]["stringData"].values()) == {""}


def test_every_placeholder_of_the_pool_is_a_variable_of_it() -> None:
    placeholders = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(POOL["job_configuration"])))

    assert placeholders == set(POOL["variables"]["properties"])


def test_the_kustomization_names_files_that_exist() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    (generated,) = kustomization["configMapGenerator"]
    volume = next(one for one in PODS["upgrade.yaml: Job"]["volumes"] if one["name"] == "work-pool")

    assert all((FOLDER / name).is_file() for name in (*kustomization["resources"], *generated["files"]))
    assert volume["configMap"]["name"] == generated["name"]
    assert {path.name for path in FOLDER.iterdir()} == {*FILES, "kustomization.yaml", "work-pool.json"}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_one_word_in_capitals_stands_for_each_thing_to_fill_in(path: Path) -> None:
    words = set(re.findall(r"\b[A-Z]+_HOST\b|\bREGISTRY\b", path.read_text("utf-8")))

    assert words <= {"REGISTRY", "POSTGRES_HOST", "MLFLOW_HOST", "PREFECT_HOST"}
