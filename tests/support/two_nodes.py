"""cluster.yaml on two Ray nodes of this machine: deployed by `serve deploy`, seen by its status."""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from serve.ray_process import ROOT, TOKEN, RayNode, free_ports, start_ray
from tests.support.postgres import PostgresServer
from tests.support.ray_worker import Worker, join
from tests.support.scaled_down import Config
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY, SeaweedServer

BUCKET = "llmrec"


@dataclass
class TwoNodes:
    """A head node labelled `cpu` and a worker labelled `gpu`, over stores that both reach."""

    head: RayNode
    worker: Worker
    port: int
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """The head's door."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments: str) -> str:
        """Run a command of an operator, who has the token; what it printed."""
        done = subprocess.run(
            arguments,
            cwd=ROOT,
            env={**self.environment, "RAY_AUTH_MODE": "token", TOKEN: self.head.token},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(self, config: Config) -> str:
        """`serve deploy`; what it said."""
        file = self.head.folder / "deployed.yaml"
        file.write_text(yaml.safe_dump(config), "utf-8")
        serve = str(Path(sys.executable).with_name("serve"))
        return self.command(serve, "deploy", "-a", self.head.dashboard, str(file))

    def application(self) -> dict[str, Any]:
        """What Serve says of the application; empty while it says nothing."""
        return self.head.status().get("applications", {}).get("llmrec", {})

    def settled(self) -> bool:
        """Whether every deployment has what it should have, and the service is ready."""
        if self.application().get("status") != "RUNNING":
            return False
        deployments = self.application().get("deployments", {}).values()
        return all(
            each["status"] == "HEALTHY" and len(each["replicas"]) == each["target_num_replicas"]
            for each in deployments
        )

    def replicas(self, deployment: str) -> dict[str, str]:
        """The running replicas of a deployment: the id of each, and of its node."""
        found = self.application().get("deployments", {}).get(deployment, {})
        return {
            each["replica_id"]: each["node_id"]
            for each in found.get("replicas", ())
            if each["state"] == "RUNNING"
        }

    def deployments(self) -> list[str]:
        return sorted(self.application().get("deployments", {}))

    def roles(self) -> dict[str, str]:
        """The label `llmrec/role` of every living node, by its id."""
        answer = httpx.get(
            f"{self.head.dashboard}/api/v0/nodes?detail=1",
            headers={"Authorization": f"Bearer {self.head.token}"},
            timeout=30,
        )
        nodes = answer.json()["data"]["result"]["result"]
        return {
            node["node_id"]: node["labels"]["llmrec/role"]
            for node in nodes
            if node["state"] == "ALIVE"
        }

    def join_worker(self) -> None:
        """A node with a (logical) GPU joins."""
        self.worker = _join(self.head, self.environment)


@contextmanager
def two_nodes(folder: Path) -> Generator[TwoNodes]:
    """Both nodes, SeaweedFS and PostgreSQL; nothing is deployed yet."""
    with SeaweedServer(folder / "seaweed") as objects, PostgresServer() as database:
        objects.create_bucket(BUCKET)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LLMREC_OBJECT_STORE__URL": f"s3://{BUCKET}/production",
            "LLMREC_OBJECT_STORE__ENDPOINT": objects.endpoint,
            "LLMREC_OBJECT_STORE__SECURE": "false",
            "LLMREC_OBJECT_STORE__REGION": REGION,
            "LLMREC_S3_ACCESS_KEY": ACCESS_KEY,
            "LLMREC_S3_SECRET_KEY": SECRET_KEY,
            "LLMREC_EVENT_STORE__URL": database.url(),
            "LLMREC_EMBEDDING__CACHE": str(folder / "embedding-cache"),
            "LLMREC_EMBEDDING__THREADS": "1",
            "LLMREC_SEARCH__DEADLINE_S": "10",  # both nodes, and who asks them, share few cores
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
            "RAY_worker_niceness": "0",  # else whatever runs beside the test starves the replicas
        }
        [port] = free_ports(1)
        head = start_ray(environment, cpus=24, labels={"llmrec/role": "cpu"})
        with ExitStack() as ending:
            ending.callback(head.stop)
            nodes = TwoNodes(head, _join(head, environment), port, environment)
            ending.callback(lambda: nodes.worker.lose())  # noqa: PLW0108 the last that joined
            yield nodes


def _join(head: RayNode, environment: Mapping[str, str]) -> Worker:
    """A node with a GPU that Ray only counts, at an address of its own."""
    return join(head, environment, ip="127.0.0.2", cpus=4, gpus=1, labels={"llmrec/role": "gpu"})
