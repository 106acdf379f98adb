"""deploy/kuberay: Kubernetes, KubeRay and Ray Serve take every overlay; typos are caught."""

import json
import re
from collections.abc import Callable

import pytest
import yaml

from serve.http.answers import ProblemAnswer
from serve.ray_process import HAPROXY, proxy_defaults
from tests.support.manifests import (
    DEPLOY,
    OVERLAYS,
    Manifest,
    faults,
    groups,
    kustomized,
    manifests,
    of_kind,
    pods,
    rayservice,
    references,
    selects,
    unmounted,
)

NAMES = sorted(path.name for path in OVERLAYS.iterdir())


@pytest.fixture(params=NAMES)
def found(request: pytest.FixtureRequest) -> list[Manifest]:
    return manifests(request.param)


def test_there_are_overlays() -> None:
    assert NAMES == ["base", "production"]


def test_every_manifest_is_valid_to_the_letter(found: list[Manifest]) -> None:
    assert {each["metadata"]["name"]: faults(each) for each in found if faults(each)} == {}


def test_the_head_does_no_work_and_its_state_survives_it(found: list[Manifest]) -> None:
    spec = rayservice(found)["spec"]
    assert groups(rayservice(found))["head"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["excludeHeadPodFromServeSvc"]
    assert spec["rayClusterConfig"]["autoscalerOptions"]["version"] == "v2"
    state = spec["rayClusterConfig"]["gcsFaultToleranceOptions"]
    [service] = of_kind(found, "Service")
    assert state["redisAddress"] == f"{service['metadata']['name']}:6379"
    assert selects(
        {"matchLabels": service["spec"]["selector"]}, pods(found)["redis"]["metadata"]["labels"]
    )


def test_what_is_referred_to_exists(found: list[Manifest]) -> None:
    example = yaml.safe_load_all((DEPLOY / "kuberay" / "secrets.example.yaml").read_text("utf-8"))
    secrets = {each["metadata"]["name"]: each["stringData"] for each in example}
    assert all(value == "" for values in secrets.values() for value in values.values())
    maps = {each["metadata"]["name"] for each in of_kind(found, "ConfigMap")}
    for each in found:
        assert {one["name"] for one in references(each, "configMapRef")} <= maps
        assert {one["secretName"] for one in references(each, "secret")} <= set(secrets)
        for one in references(each, "secretKeyRef"):
            assert one["key"] in secrets[one["name"]]
    assert not of_kind(found, "Secret")
    for name, pod in pods(found).items():
        volumes = {one["name"] for one in pod["spec"].get("volumes", [])} | {"data"}
        mounted = {one["name"] for mounts in references(pod, "volumeMounts") for one in mounts}
        assert mounted <= volumes, name


def test_every_file_that_the_settings_name_is_mounted_and_keys_are_one(
    found: list[Manifest],
) -> None:
    assert unmounted(found) == []
    [settings] = of_kind(found, "ConfigMap")
    assert settings["data"]["LLMREC_API_KEYS_FILE"] == "/run/secrets/llmrec-keys/api-keys"
    assert "LLMREC_API_KEYS" not in settings["data"]


UNMOUNTED: dict[str, Callable[[list[Manifest]], object]] = {
    "no mount": lambda one: worker(one)["containers"][0]["volumeMounts"].pop(),
    "another folder": lambda one: worker(one)["containers"][0]["volumeMounts"][-1].update(
        mountPath="/run/secrets/llmrec-key"
    ),
    "another secret": lambda one: worker(one)["volumes"][-1]["secret"].update(
        secretName="llmrec-key"
    ),
    "another path": lambda one: of_kind(one, "ConfigMap")[0]["data"].update(
        LLMREC_API_KEYS_FILE="/run/secrets/llmrec-keys/api-key"
    ),
}


def worker(found: list[Manifest]) -> Manifest:
    return groups(rayservice(found))["cpu"]["template"]["spec"]


@pytest.mark.parametrize("plant", UNMOUNTED)
def test_keys_that_are_not_mounted_where_they_are_named_are_noticed(plant: str) -> None:
    found = manifests("production")
    UNMOUNTED[plant](found)
    missing = unmounted(found)
    assert [each for each in missing if each.startswith("cpu: LLMREC_API_KEYS_FILE=")]
    assert all("LLMREC_API_KEYS_FILE" in each for each in missing)


def test_every_proxy_has_the_defaults_that_ray_has_no_setting_for(found: list[Manifest]) -> None:
    defaults = (HAPROXY / "defaults.cfg").read_text("utf-8").rstrip()
    [settings] = of_kind(found, "ConfigMap")
    assert settings["data"]["RAY_SERVE_HAPROXY_BALANCE_ALGORITHM"] == defaults
    assert proxy_defaults().partition("\n")[0] == "leastconn"
    assert re.findall(r"/\S+", proxy_defaults()) == [str(HAPROXY / "503.http")]
    launcher = yaml.safe_load((DEPLOY / "cluster" / "aws.yaml").read_text("utf-8"))
    for start in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert '="$(cat /app/config/haproxy/defaults.cfg)"; ray start' in launcher[start][-1]


def test_the_proxys_own_refusal_is_a_problem() -> None:
    head, _, body = (HAPROXY / "503.http").read_text("utf-8").partition("\n\n")
    lines = head.splitlines()
    assert lines[0].startswith("HTTP/1.1 503 ")
    assert {f"Content-Length: {len(body)}", "Retry-After: 1"} <= set(lines)
    assert "Content-Type: application/problem+json" in lines
    assert ProblemAnswer.model_validate({"request_id": "", **json.loads(body)}).status == 503


def test_no_pod_has_more_rights_than_it_needs(found: list[Manifest]) -> None:
    autoscaler = rayservice(found)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    for name, pod in pods(found).items():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"]
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        token = pod["spec"].get("automountServiceAccountToken", True)
        assert token == (name == "head"), "the autoscaler alone speaks to Kubernetes"
        for container in [*pod["spec"]["containers"], autoscaler]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"]
            assert not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_every_container_has_probes_and_a_pinned_image(found: list[Manifest]) -> None:
    for name, pod in pods(found).items():
        for container in pod["spec"]["containers"]:
            assert {"livenessProbe", "readinessProbe"} <= set(container), name
            tag = container["image"].rpartition(":")[2]
            assert any(letter.isdigit() for letter in tag), container["image"]
    images = {name: pod["spec"]["containers"][0]["image"] for name, pod in pods(found).items()}
    assert images["gpu"].endswith("-gpu")
    assert images["cpu"].endswith("-cpu")


def test_a_budget_lets_machines_be_drained_and_keeps_the_rest(found: list[Manifest]) -> None:
    budgets = of_kind(found, "PodDisruptionBudget")
    workers = groups(rayservice(found))
    for budget in budgets:
        assert "maxUnavailable" not in budget["spec"], "needs a scale subresource"
        covered = [
            name
            for name, group in workers.items()
            if selects(budget["spec"]["selector"], group["template"]["metadata"]["labels"])
        ]
        assert covered in (["cpu"], ["gpu"])
        assert 0 < budget["spec"]["minAvailable"] < workers[covered[0]]["minReplicas"]
    assert budgets


# ── planted typos ────────────────────────────────────────────────────────────────────────────────


def renamed(where: Manifest, old: str, new: str) -> None:
    where[new] = where.pop(old)


TYPOS: dict[str, tuple[str, Callable[[Manifest], object]]] = {
    "a worker group's": (
        "RayService",
        lambda one: renamed(groups(one)["cpu"], "minReplicas", "minReplica"),
    ),
    "the autoscaler's version": (
        "RayService",
        lambda one: one["spec"]["rayClusterConfig"]["autoscalerOptions"].update(version="v3"),
    ),
    "a probe's": (
        "RayService",
        lambda one: renamed(
            groups(one)["gpu"]["template"]["spec"]["containers"][0], "livenessProbe", "liveProbe"
        ),
    ),
    "a template that is missing": (
        "RayService",
        lambda one: groups(one)["head"].pop("template"),
    ),
    "a policy's": ("NetworkPolicy", lambda one: renamed(one["spec"], "podSelector", "podsel")),
    "a budget's": (
        "PodDisruptionBudget",
        lambda one: renamed(one["spec"], "minAvailable", "minAvail"),
    ),
    "a set's": ("StatefulSet", lambda one: renamed(one["spec"], "replicas", "replica")),
    "a service's": ("Service", lambda one: renamed(one["spec"], "ports", "port")),
    "a map's": ("ConfigMap", lambda one: renamed(one, "data", "dat")),
    "a namespace's": ("Namespace", lambda one: renamed(one["metadata"], "labels", "lables")),
}


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_in_a_manifest_is_caught(typo: str) -> None:
    kind, plant = TYPOS[typo]
    manifest = of_kind(manifests("base"), kind)[0]
    assert faults(manifest) == []
    plant(manifest)
    assert faults(manifest) != []


def test_every_kind_has_its_planted_typo() -> None:
    assert {each["kind"] for each in manifests("production")} == {
        kind for kind, _ in TYPOS.values()
    }


def test_a_typo_in_an_overlay_is_caught(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("overlay")
    (folder / "pod.yaml").write_text("{apiVersion: v1, kind: Pod, metadata: {name: one}}")
    (folder / "kustomization.yaml").write_text(
        "resources: [pod.yaml]\npatches:\n  - target: {kind: Pod}\n"
        "    patch: '[{op: replace, path: /spec/replica, value: 1}]'\n"
    )
    with pytest.raises(ValueError, match="replica"):
        kustomized(folder)
