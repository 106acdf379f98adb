"""The shipped cluster.yaml in, the same config for a small machine out."""

import copy
from typing import Any

import yaml

from serve.ray_process import ROOT

CLUSTER = ROOT / "serve" / "config" / "cluster.yaml"
SHARDS = 2
SMALLER = "shards: 4 → 2; shards: 2 to 3 replicas, not 8; embedder: from 1 replica, not 2"
QUICKER = "shards and api scale within seconds, not minutes; a shard's target 0.5 calls, not 1"
QUICK = {
    "metrics_interval_s": 0.5,
    "look_back_period_s": 3,
    "upscale_delay_s": 2,
    "downscale_delay_s": 5,
}

Config = dict[str, Any]


def scaled_down(port: int) -> Config:
    """The shipped cluster.yaml on that port, but for what `SMALLER` and `QUICKER` say."""
    config = yaml.safe_load(CLUSTER.read_text("utf-8"))
    config["http_options"]["port"] = port
    [application] = config["applications"]
    too_many = {f"shard-{n}" for n in range(SHARDS, application["args"]["search"]["shards"])}
    application["args"]["search"]["shards"] = SHARDS
    application["deployments"] = [
        copy.deepcopy(each)  # YAML's anchors share what they name
        for each in application["deployments"]
        if each["name"] not in too_many
    ]
    for shard in range(SHARDS):
        scaling_of(config, f"shard-{shard}").update(
            QUICK, max_replicas=3, target_ongoing_requests=0.5
        )
    scaling_of(config, "api").update(QUICK)
    scaling_of(config, "embedder")["min_replicas"] = 1
    return config


def scaling_of(config: Config, deployment: str) -> dict[str, Any]:
    """The `autoscaling_config` of a deployment, to be changed."""
    [found] = [
        each for each in config["applications"][0]["deployments"] if each["name"] == deployment
    ]
    return found["autoscaling_config"]
