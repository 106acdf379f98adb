"""A second Ray node on this machine: it joins a head node, has its own files, and can be lost."""

import contextlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from serve.ray_process import (
    RayNode,
    free_ports,
    label_arguments,
    launch,
    node_environment,
    node_folder,
)

MARK = "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"


@dataclass(frozen=True, slots=True)
class Worker:
    """A node that joined; `url` is its own door, where Serve's proxy on it listens."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str

    def lose(self) -> None:
        """End every process of the node at once, the raylet first, as when its power goes."""
        processes = sorted(self._processes(), key=lambda process: process.name() != "raylet")
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        """Every process that carries a file of this node in its environment."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK, "").startswith(f"{self.folder}/"):
                    found.append(process)
        return found


def join(
    head: RayNode,
    environment: Mapping[str, str],
    *,
    ip: str,
    cpus: int,
    gpus: int,
    labels: Mapping[str, str],
) -> Worker:
    """Start a node that joins the head; its CPUs and GPUs are logical, Ray only counts them."""
    folder = node_folder()
    agent, metrics, http = free_ports(3)
    arguments = [
        *("--address", head.gcs, "--node-ip-address", ip),
        *("--dashboard-agent-listen-port", str(agent), "--metrics-export-port", str(metrics)),
        *("--num-cpus", str(cpus), "--num-gpus", str(gpus), *label_arguments(labels)),
    ]
    own = {
        **node_environment(folder, head.token),
        "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(http),  # the head has the config's, on this machine
    }
    return Worker(
        launch(arguments, folder, {**environment, **own}), folder, f"http://127.0.0.1:{http}"
    )
