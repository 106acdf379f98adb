"""Ray nodes as children of this process: started on free ports, stopped without a trace."""

import contextlib
import json
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from llmrec_ray.errors import Unavailable

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 the name of a variable
HAPROXY = Path(__file__).resolve().parent / "config" / "haproxy"
START_S = 150.0
STOP_S = 20.0
REPLICA_PORTS = 100
MOST_CONNECTIONS = 20_000
SPARE_FILES = 500
OBJECT_STORE_BYTES = 200 * 2**20

LOCAL = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # else the last 1000 lines are not yet written
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "0.1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "30",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""What Ray and the replicas get, unless the environment says otherwise."""


class StartFailed(Unavailable):
    """The service did not come up; the message says which part, and why."""


@dataclass(frozen=True, slots=True)
class RayNode:
    """A running head node; `status` and `deploy` speak to its dashboard, as `serve deploy` does.

    `metrics` is where Prometheus scrapes it.
    """

    process: subprocess.Popen[bytes]
    dashboard: str
    gcs: str
    folder: Path
    token: str
    metrics: str

    @property
    def log(self) -> Path:
        return self.folder / "ray.log"

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Hand over a Serve config; raises `StartFailed` where Ray does not take it."""
        answer = self._ask("PUT", timeout=60, json=config)
        if answer.is_error:
            raise StartFailed(f"Ray Serve does not take the config: {answer.text[-2000:]}")

    def status(self) -> dict[str, Any]:
        """Applications and deployments as Serve reports them; empty while it cannot be asked."""
        try:
            answer = self._ask("GET", timeout=10)
            return answer.json() if answer.is_success else {}
        except (httpx.HTTPError, json.JSONDecodeError):
            return {}

    def stop(self) -> None:
        """End Serve, then Ray, then whatever of it is left."""
        with contextlib.suppress(httpx.HTTPError):
            self._ask("DELETE", timeout=STOP_S)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        leftovers = self._leftovers()
        for process in leftovers:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(leftovers, timeout=STOP_S)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, method: str, timeout: float, json: object = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.dashboard}/api/serve/applications/"
        return httpx.request(method, url, headers=headers, timeout=timeout, json=json)

    def _leftovers(self) -> list[psutil.Process]:
        """Every process that carries this node's token in its environment."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(TOKEN) == self.token:
                    found.append(process)
        return found


def start_ray(
    environment: Mapping[str, str], *, cpus: int, labels: Mapping[str, str] | None = None
) -> RayNode:
    """Start a head node on 127.0.0.1; it gets `environment` and the settings of `LOCAL`."""
    folder = node_folder()
    token = secrets.token_hex(32)  # nobody else on the network or the machine may run code here
    gcs, dashboard, client, agent, metrics = free_ports(5)
    arguments = [
        *("--head", "--node-ip-address", "127.0.0.1", "--port", str(gcs)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)),
        *("--dashboard-agent-listen-port", str(agent), "--metrics-export-port", str(metrics)),
        *("--ray-client-server-port", str(client), "--num-cpus", str(cpus)),
        *label_arguments(labels or {}),
    ]
    node = RayNode(
        launch(arguments, folder, {**environment, **node_environment(folder, token)}),
        dashboard=f"http://127.0.0.1:{dashboard}",
        gcs=f"127.0.0.1:{gcs}",
        folder=folder,
        token=token,
        metrics=f"http://127.0.0.1:{metrics}/metrics",
    )
    try:
        _wait_for_dashboard(node)
    except BaseException:
        node.stop()
        raise
    return node


def node_folder() -> Path:
    """An empty folder for a node's files; sockets need short paths."""
    return Path(tempfile.mkdtemp(prefix="llmrec-", dir="/tmp"))


def label_arguments(labels: Mapping[str, str]) -> list[str]:
    """What `ray start` is told of a node's labels."""
    return ["--labels", ",".join(f"{name}={value}" for name, value in labels.items())] * bool(
        labels
    )


def node_environment(folder: Path, token: str) -> dict[str, str]:
    """What the processes of one node share: ports and files of their own, and the token."""
    haproxy_metrics, haproxy_stats = free_ports(2)
    http, grpc = _port_ranges()
    return {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http.start),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http.stop - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc.start),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc.stop - 1),
        "RAY_SERVE_HAPROXY_MAXCONN": str(proxy_connections()),
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": proxy_defaults(),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(haproxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(haproxy_stats),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_AUTH_MODE": "token",
        TOKEN: token,
    }


def launch(
    arguments: list[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """`ray start` with these arguments, its files and its log in the folder."""
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments),
        *("--object-store-memory", str(OBJECT_STORE_BYTES), "--disable-usage-stats"),
        *("--temp-dir", str(folder / "ray"), "--include-log-monitor", "false"),
    ]
    with (folder / "ray.log").open("wb") as log:
        return subprocess.Popen(
            command,
            env={**LOCAL, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to answer, in order
        )


def _wait_for_dashboard(node: RayNode) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if node.process.poll() is not None:
            raise StartFailed(f"Ray ended while it started:\n{_tail(node.log)}")
        if node.status():
            return
        time.sleep(0.2)
    raise StartFailed(f"Ray did not start within {START_S:.0f} s:\n{_tail(node.log)}")


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])


def free_ports(count: int) -> list[int]:
    """TCP ports of this machine that nobody listens on, all different."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _port_ranges() -> tuple[range, range]:
    """Ports for the replicas' HTTP and gRPC, drawn anew for each node.

    Replicas share a port that is taken (SO_REUSEPORT), so nodes of one machine on Serve's default
    ports would answer for each other.
    """
    start = 10_000 + 2 * REPLICA_PORTS * secrets.randbelow(90)  # below the ephemeral ports
    middle = start + REPLICA_PORTS
    return range(start, middle), range(middle, middle + REPLICA_PORTS)


def proxy_connections() -> int:
    """Connections that HAProxy may hold: it refuses to start where files run out before them.

    It counts two files a connection, and a pipe (two more) for every fourth.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_CONNECTIONS if files == resource.RLIM_INFINITY else (files - SPARE_FILES) * 2 // 5
    return min(MOST_CONNECTIONS, max(most, 100))


def proxy_defaults() -> str:
    """What Ray has no setting for, to be given as the balance algorithm.

    Ray writes that as it stands into the section `defaults` of HAProxy's config, so that more lines
    can follow it; the images have the files that these name in /app/config.
    """
    text = (HAPROXY / "defaults.cfg").read_text("utf-8").rstrip()
    return text.replace("/app/config/haproxy", str(HAPROXY))


def port_is_free(port: int) -> bool:
    """Whether this machine could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def on_terminate_raise() -> None:
    """SIGTERM ends this process as Ctrl-C does, so that what it started is stopped."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
