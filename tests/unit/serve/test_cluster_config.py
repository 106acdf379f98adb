"""The Serve config for a cluster: it fits the application, and its scaling rules are explained."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import settings_of
from serve import autoscaling
from serve.app import build
from serve.autoscaling import Rule, fault
from tests.support.scaled_down import SHARDS, scaled_down
from tests.unit.serve.test_local_config import names

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "serve" / "config" / "cluster.yaml").read_text("utf-8")
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)
[APPLICATION] = CONFIG["applications"]
DEPLOYMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in APPLICATION["deployments"]}
RULES = re.compile(
    r"^\| `([a-z-]+)` \|[^|]+\| ([\d.]+) \| (\d+) \| (\d+) \| ([^|]+) \|", re.MULTILINE
)


def test_it_fits_the_application_it_deploys() -> None:
    ServeDeploySchema.model_validate(CONFIG)
    assert set(CONFIG) <= set(ServeDeploySchema.model_fields), "Serve ignores unknown names"
    assert APPLICATION["import_path"] == "serve.app:build"
    assert set(DEPLOYMENTS) == names(build(settings_of(APPLICATION["args"])))


@pytest.mark.filterwarnings("ignore:The `metrics_interval_s`:DeprecationWarning")
def test_the_two_node_run_deploys_it_but_for_the_numbers_of_scaling() -> None:
    config = scaled_down(8123)
    [application] = config["applications"]
    ServeDeploySchema.model_validate(config)
    assert {**config, "applications": [], "http_options": {}} == {
        **CONFIG,
        "applications": [],
        "http_options": {},
    }
    deployments = {one["name"]: one for one in application["deployments"]}
    assert {**application, "args": {}, "deployments": []} == {
        **APPLICATION,
        "args": {},
        "deployments": [],
    }
    assert application["args"] == {
        **APPLICATION["args"],
        "search": {**APPLICATION["args"]["search"], "shards": SHARDS},
    }
    assert set(deployments) == names(build(settings_of(application["args"])))
    for name, deployment in deployments.items():
        shipped = DEPLOYMENTS[name]
        assert {**deployment, "autoscaling_config": {}} == {**shipped, "autoscaling_config": {}}


def test_one_policy_decides_for_every_deployment() -> None:
    module, _, name = APPLICATION["autoscaling_policy"]["policy_function"].partition(":")
    assert module == autoscaling.__name__
    assert callable(getattr(autoscaling, name))
    for deployment in DEPLOYMENTS.values():
        assert "policy" not in deployment["autoscaling_config"]
        assert "num_replicas" not in deployment


@pytest.mark.parametrize("name", list(DEPLOYMENTS))
def test_no_rule_oscillates(name: str) -> None:
    scaling = DEPLOYMENTS[name]["autoscaling_config"]
    rule = Rule(
        target=scaling["target_ongoing_requests"],
        floor=scaling["min_replicas"],
        ceiling=scaling["max_replicas"],
        look_back_s=scaling["look_back_period_s"],
        down_after_s=scaling["downscale_delay_s"],
        to_zero_after_s=scaling.get("downscale_to_zero_delay_s", scaling["downscale_delay_s"]),
        up_factor=scaling["upscaling_factor"],
        down_factor=scaling["downscaling_factor"],
    )
    assert fault(rule) is None
    assert rule.target <= 0.7 * DEPLOYMENTS[name]["max_ongoing_requests"]


def test_every_shard_has_the_same_rule() -> None:
    rules = [one["autoscaling_config"] for name, one in DEPLOYMENTS.items() if "shard-" in name]
    assert len(rules) == 4
    assert all(rule == rules[0] for rule in rules)


def test_the_generator_alone_goes_to_zero_and_alone_needs_a_gpu() -> None:
    for name, one in DEPLOYMENTS.items():
        speaks = name == "generator"
        actor = one["ray_actor_options"]
        assert (one["autoscaling_config"]["min_replicas"] == 0) == speaks
        assert actor["label_selector"] == {"llmrec/role": "gpu" if speaks else "cpu"}
        assert ("num_gpus" in actor) == speaks


def test_targets_floors_ceilings_and_cool_downs_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    rows = RULES.findall(page)
    written = {name: tuple(numbers) for name, *numbers in rows}
    shipped = {
        name.replace("shard-0", "shard-"): (
            str(scaling["target_ongoing_requests"]),
            str(scaling["min_replicas"]),
            str(scaling["max_replicas"]),
            _cool_down(scaling),
        )
        for name, one in DEPLOYMENTS.items()
        if (scaling := one["autoscaling_config"]) and name not in {"shard-1", "shard-2", "shard-3"}
    }
    assert written == shipped


def _cool_down(scaling: dict[str, Any]) -> str:
    to_zero = scaling.get("downscale_to_zero_delay_s")
    said = f"{scaling['downscale_delay_s']} s"
    return said if to_zero is None else f"{said}, {to_zero} s to zero"


def test_every_number_of_a_rule_has_its_reason() -> None:
    heading = TEXT[: TEXT.index("proxy_location:")]
    lines = TEXT.splitlines()
    for at, line in enumerate(lines):
        found = re.match(r"          (\w+): [\d.]+$", line)
        if found and f" {found[1]} " not in heading:
            above = lines[at - 2 : at]
            assert any(each.lstrip().startswith("#") for each in above), line


def test_no_credentials_lie_in_it() -> None:
    assert "key" not in str(APPLICATION["args"])
    assert not re.search(r"://[^/@\s]+:[^/@\s]+@", TEXT), "a password in a URL"


@pytest.mark.parametrize(
    ("section", "url", "told"),
    [
        ("object_store", "file:///data", "bucket, such as s3://"),
        ("event_store", "sqlite:///var/events.db", r"postgresql\+psycopg://"),
    ],
)
def test_stores_of_one_host_are_refused_on_a_cluster(section: str, url: str, told: str) -> None:
    args = APPLICATION["args"] | {section: {"url": url}}
    with pytest.raises(InvalidSettings, match=told) as refused:
        settings_of(args)
    assert refused.value.details["field"] == f"{section}.url"
    assert settings_of(args | {"deployment": {"kind": "local"}})


def test_the_default_stores_are_refused_on_a_cluster() -> None:
    with pytest.raises(InvalidSettings, match="object_store"):
        settings_of({"deployment": {"kind": "cluster"}})


def test_a_kind_of_deployment_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidSettings, match=r"deployment\.kind"):
        settings_of({"deployment": {"kind": "cloud"}})
