"""One Ray node for all end-to-end tests: it starts empty, and the catalogue is ingested on it."""

import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from serve.ray_process import TOKEN, free_ports
from serve.up import CONFIG, Cluster, local_cluster
from tests.support.films import catalogue

ROOT = Path(__file__).parents[2]


@dataclass
class Live:
    """The running service: its URL, where its objects lie, and what ingestion said."""

    cluster: Cluster
    objects: Path
    catalogue: Path
    environment: dict[str, str]
    ingested: str = ""

    @property
    def url(self) -> str:
        return self.cluster.url

    def ingest(self, **settings: str) -> subprocess.CompletedProcess[str]:
        """Ingest the catalogue on the running node, as an operator would."""
        node = self.cluster.node
        joined = {"RAY_AUTH_MODE": "token", TOKEN: node.token}
        return subprocess.run(
            [
                *(sys.executable, "-m", "serve.ingest", str(self.catalogue)),
                *("--address", node.gcs),
            ],
            cwd=ROOT,
            env={**os.environ, **self.environment, **joined, **settings},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def scale_shards(self, replicas: int) -> None:
        """Deploy the config again with that many replicas a shard."""
        config = yaml.safe_load(CONFIG.read_text("utf-8"))
        self.cluster.node.deploy(scaled(config, httpx.URL(self.url).port or 80, replicas))

    def replica(self, deployment: str) -> psutil.Process:
        """The process of a replica of a deployment."""
        name = f"ray::ServeReplica:llmrec:{deployment}"
        for process in psutil.process_iter(["cmdline"]):
            named = process.info["cmdline"] and process.info["cmdline"][0].startswith(name)
            if named and process.environ().get(TOKEN) == self.cluster.node.token:
                return process
        raise LookupError(deployment)


def scaled(config: dict[str, Any], port: int, replicas: int) -> dict[str, Any]:
    """The Serve config on that port, with that many replicas a shard."""
    config["http_options"]["port"] = port
    for deployment in config["applications"][0]["deployments"]:
        if deployment["name"].startswith("shard-"):
            deployment["num_replicas"] = replicas
    return config


def wait_for(condition: object, seconds: float = 90) -> None:
    """Look until `condition()` is true."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


@contextmanager
def served(
    folder: Path, config: Path | dict[str, Any] = CONFIG, **settings: str
) -> Generator[Live]:
    """A service of its own that starts empty; the small catalogue is ingested beside it."""
    environment = {
        "LLMREC_OBJECT_STORE__URL": f"file://{folder}/objects",
        "LLMREC_EVENT_STORE__URL": f"sqlite:///{folder}/events.db",
        "LLMREC_EMBEDDING__CACHE": f"{folder}/embedding-cache",
        "LLMREC_SEARCH__POLL_S": "0.5",
        **settings,
    }
    [port] = free_ports(1)
    with local_cluster(
        config, port=port, environment=environment, needs_generation=False, timeout_s=400
    ) as cluster:
        service = Live(cluster, folder / "objects", catalogue(folder), environment)
        ingesting = service.ingest()
        assert ingesting.returncode == 0, ingesting.stdout + ingesting.stderr
        service.ingested = ingesting.stdout
        wait_for(lambda: httpx.get(f"{cluster.url}/readyz").status_code == 200)
        yield service


def without_a_language_model() -> dict[str, Any]:
    """The Serve config of `local.yaml` whose generator starts at zero and wakes on demand."""
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    [application] = config["applications"]
    application["autoscaling_policy"] = {"policy_function": "serve.autoscaling:policy"}
    for deployment in application["deployments"]:
        if deployment["name"] == "generator":
            del deployment["num_replicas"]
            deployment["autoscaling_config"] = {"min_replicas": 0, "max_replicas": 1}
    return config


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with served(tmp_path_factory.mktemp("live")) as service:
        yield service


@pytest.fixture
def http(live: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, timeout=60) as client:
        yield client
