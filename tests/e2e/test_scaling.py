"""The scaling rules on a real Ray node: shards move together, the generator goes and comes back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import yaml

from llmrec_ray.generation.buckets import shard_of
from serve.up import CONFIG
from tests.e2e.conftest import Live, served, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

QUICK = {
    "min_replicas": 1,
    "max_replicas": 2,
    "target_ongoing_requests": 0.5,
    "metrics_interval_s": 0.5,
    "look_back_period_s": 2,
    "upscale_delay_s": 0,
    "downscale_delay_s": 5,
}
CLIENTS = 8


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The service of local.yaml with the policy, reacting within seconds; no generator yet."""
    with served(tmp_path_factory.mktemp("scaling"), quick_to_scale()) as service:
        yield service


def quick_to_scale() -> dict[str, Any]:
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    [application] = config["applications"]
    application["autoscaling_policy"] = {"policy_function": "serve.autoscaling:policy"}
    for deployment in application["deployments"]:
        if deployment["name"].startswith("shard-"):
            del deployment["num_replicas"]
            deployment["autoscaling_config"] = QUICK
        if deployment["name"] == "generator":
            del deployment["num_replicas"]
            deployment["autoscaling_config"] = QUICK | {"min_replicas": 0, "max_replicas": 1}
    return config


@contextmanager
def load_on(url: str, path: str) -> Iterator[None]:
    """Clients that ask for one path again and again; every answer must be a 200."""
    done = threading.Event()
    refused: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not done.is_set():
                if (status := client.get(path).status_code) != 200:
                    refused.append(status)

    asking = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in asking:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in asking:
            thread.join()
    assert not refused


def running(service: Live, deployment: str) -> int:
    found = service.cluster.node.status()["applications"]["llmrec"]["deployments"][deployment]
    return sum(replica["state"] == "RUNNING" for replica in found["replicas"])


def explained_by(service: Live) -> str:
    body = {"user_id": "u1", "limit": 1, "explain": "llm"}
    answer = httpx.post(f"{service.url}/v1/recommendations", json=body, timeout=60).json()
    source = answer["items"][0]["explanation"]["source"]
    assert answer["degraded"] == (["explain"] if source == "template" else [])
    return source


def test_load_on_one_shard_scales_every_shard_and_its_end_brings_them_back(scaling: Live) -> None:
    shards = ("shard-0", "shard-1")
    wait_for(lambda: [running(scaling, shard) for shard in shards] == [1, 1])
    item = next(f"f{n:02}" for n in range(30) if shard_of(f"f{n:02}", len(shards)) == 0)
    with load_on(scaling.url, f"/v1/items/{item}"):
        wait_for(lambda: [running(scaling, shard) for shard in shards] == [2, 2])
    wait_for(lambda: [running(scaling, shard) for shard in shards] == [1, 1])


def test_an_absent_generator_comes_back_on_demand_and_goes_when_idle(scaling: Live) -> None:
    assert running(scaling, "generator") == 0
    assert explained_by(scaling) == "template"
    wait_for(lambda: running(scaling, "generator") == 1, 240)
    wait_for(lambda: explained_by(scaling) == "llm")
    wait_for(lambda: running(scaling, "generator") == 0)
    wait_for(lambda: explained_by(scaling) == "template")
