"""serveConfigV2: it is serve/config/cluster.yaml, and Serve and the builder take all of it."""

from typing import Any

import pytest
import yaml
from ray.serve.schema import DeploymentSchema, ServeApplicationSchema, ServeDeploySchema

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import settings_of
from serve.app import build
from tests.support.manifests import (
    ROOT,
    Manifest,
    groups,
    manifests,
    of_kind,
    rayservice,
)
from tests.unit.serve.test_local_config import names


@pytest.fixture(params=["base", "production"])
def found(request: pytest.FixtureRequest) -> list[Manifest]:
    return manifests(request.param)


def serve_config(found: list[Manifest]) -> dict[str, Any]:
    return yaml.safe_load(rayservice(found)["spec"]["serveConfigV2"])


def serve_faults(text: str) -> list[str]:
    """What Serve would refuse, or would leave unsaid: it ignores names that it does not know."""
    config: dict[str, Any] = yaml.safe_load(text)
    [application] = config["applications"]
    try:
        ServeDeploySchema.model_validate(config)
        built = names(build(settings_of(application["args"])))
    except (ValueError, InvalidSettings) as error:
        return [str(error)]
    deployed = {each["name"]: set(each) for each in application["deployments"]}
    unknown = set(config) - set(ServeDeploySchema.model_fields)
    unknown |= set(application) - set(ServeApplicationSchema.model_fields)
    unknown |= set().union(*deployed.values()) - set(DeploymentSchema.model_fields)
    return [*sorted(unknown), *sorted(built ^ set(deployed))]


def test_the_serve_config_is_the_file(found: list[Manifest]) -> None:
    config = (ROOT / "serve" / "config" / "cluster.yaml").read_text("utf-8")
    assert rayservice(found)["spec"]["serveConfigV2"] == config
    assert not [each for each in found if "serve-config" in each["metadata"]["name"]]


def test_the_serve_config_builds_with_the_settings_of_the_cluster(
    found: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    [settings] = of_kind(found, "ConfigMap")
    for name, value in settings["data"].items():
        if name.startswith("LLMREC_"):
            monkeypatch.setenv(name, value)
    assert serve_faults(rayservice(found)["spec"]["serveConfigV2"]) == []
    chosen = settings_of(serve_config(found)["applications"][0]["args"])
    assert chosen.object_store.url == settings["data"]["LLMREC_OBJECT_STORE__URL"]


SERVE_TYPOS: dict[str, tuple[str, str, str]] = {
    "a deployment": ("- name: embedder", "- name: embeder", "embeder"),
    "a setting": ("search: {shards: 4", "search: {shard: 4", "search.shard"),
    "a field": ("max_ongoing_requests: 64", "max_ongoing_request: 64", "max_ongoing_request"),
    "a value": ("num_cpus: 2, label", "num_cpus: two, label", "num_cpus"),
}


@pytest.mark.parametrize("typo", SERVE_TYPOS)
def test_a_typo_in_the_serve_config_is_caught(typo: str) -> None:
    written, planted, named = SERVE_TYPOS[typo]
    text = rayservice(manifests("base"))["spec"]["serveConfigV2"]
    assert serve_faults(text) == []
    assert named in "".join(serve_faults(text.replace(written, planted, 1)))


def test_every_deployment_fits_a_group_at_its_floor_and_at_its_ceiling(
    found: list[Manifest],
) -> None:
    by_role = {
        group["labels"]["llmrec/role"]: group
        for group in groups(rayservice(found)).values()
        if "labels" in group
    }
    wanted: dict[tuple[str, str, str], float] = {}
    for deployment in serve_config(found)["applications"][0]["deployments"]:
        options, scaling = deployment["ray_actor_options"], deployment["autoscaling_config"]
        role = options["label_selector"]["llmrec/role"]
        for bound in ("min", "max"):
            for kind, option in (("cpu", "num_cpus"), ("nvidia.com/gpu", "num_gpus")):
                key = (role, bound, kind)
                amount = options.get(option, 0) * scaling[f"{bound}_replicas"]
                wanted[key] = wanted.get(key, 0) + amount
    for (role, bound, kind), amount in wanted.items():
        group = by_role[role]
        [container] = group["template"]["spec"]["containers"]
        holds = int(container["resources"]["limits"].get(kind, 0)) * group[f"{bound}Replicas"]
        assert amount <= holds, f"{role} at {bound}Replicas: {kind} {amount} of {holds}"
