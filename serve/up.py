"""A Serve config in, the service running on this machine out: `python -m serve.up`."""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from llmrec_ray.errors import LLMRecError
from llmrec_ray.generation.activation import current
from llmrec_ray.parts import open_objects
from llmrec_ray.settings import settings_of
from serve.ray_process import (
    ROOT,
    RayNode,
    StartFailed,
    on_terminate_raise,
    port_is_free,
    start_ray,
)

CONFIG = ROOT / "serve" / "config" / "local.yaml"
UP_S = 300.0
LOOK_S = 0.5

_OURS = re.compile(r"(?:\S*\s)?llmrec_ray\.errors\.\w+: (.*)")
_STRANGE = re.compile(r"((?:[\w.]+\.)?\w*(?:Error|Exception)\b.*: .*)")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the service while it starts: whether it is ready, and what it waits for."""

    name: str
    ready: bool
    note: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running service: its URL, and the Ray node under it."""

    url: str
    node: RayNode


@contextmanager
def local_cluster(
    config: Path | Mapping[str, Any] = CONFIG,
    *,
    port: int = 8000,
    environment: Mapping[str, str] | None = None,
    cpus: int = 2,
    timeout_s: float = UP_S,
    needs_generation: bool = True,
    told: Callable[[list[Part]], None] = lambda _: None,
) -> Iterator[Cluster]:
    """The service on this machine for the length of the block; `told` hears how far each part is.

    `environment` is added to this process's own. With `needs_generation=False` the block is entered
    once every part runs, so that a catalogue can be ingested on this very cluster. Raises
    `StartFailed` when a part fails, or is not ready in time.
    """
    if not port_is_free(port):
        raise StartFailed(
            f"port {port} is taken: stop what listens there, or choose another --port."
        )
    read = _read(config)
    deployed = {**read, "http_options": {**read.get("http_options", {}), "port": port}}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    node = start_ray(
        {**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(paths)}, cpus=cpus
    )
    try:
        node.deploy(deployed)
        cluster = Cluster(f"http://127.0.0.1:{port}", node)
        _wait_until_up(cluster, timeout_s, told, needs_generation=needs_generation)
        yield cluster
    finally:
        node.stop()


def _read(config: Path | Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        read = yaml.safe_load(config.read_text("utf-8")) if isinstance(config, Path) else config
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise StartFailed(f"cannot read the Serve config {config}: {cause}") from cause
    if not isinstance(read, Mapping) or not read.get("applications"):
        raise StartFailed(f"{config} is no Serve config: it has no `applications`.")
    return read


def require_generation(config: Path) -> None:
    """Say at once that there is nothing to serve, rather than after a minute of starting."""
    settings = settings_of(_read(config)["applications"][0].get("args", {}))
    if current(open_objects(settings)) is None:
        raise StartFailed(
            f"no generation is published in {settings.object_store.url}: ingest a catalogue first,"
            " with `python -m serve.ingest CATALOG.yaml`, or run `make demo`."
        )


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────


def _wait_until_up(
    cluster: Cluster,
    timeout_s: float,
    told: Callable[[list[Part]], None],
    *,
    needs_generation: bool,
) -> None:
    end = time.monotonic() + timeout_s
    parts: list[Part] = []
    while time.monotonic() < end:
        if cluster.node.process.poll() is not None:
            raise StartFailed("Ray ended while the service started.")
        applications = cluster.node.status().get("applications", {})
        if broken := failures(applications):
            raise StartFailed("the service cannot start.\n" + "\n".join(broken))
        ready, from_http = _ask_ready(cluster.url)
        running = bool(applications) and all(
            application["status"] == "RUNNING" for application in applications.values()
        )
        parts = _parts(applications, from_http)
        told(parts)
        if running and (ready or (from_http and not needs_generation)):
            return
        time.sleep(LOOK_S)
    waiting = "; ".join(f"{part.name}: {part.note}" for part in parts if not part.ready)
    raise StartFailed(
        f"not ready within {timeout_s:.0f} s. Still waiting: {waiting or 'Ray Serve'}."
    )


def _ask_ready(url: str) -> tuple[bool, list[Part]]:
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5)
        components = answer.json()["components"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False, []
    parts = [
        Part(one["name"], one["ready"], one.get("waits_for") or one.get("has") or "")
        for one in components
    ]
    return answer.status_code == 200, parts


def _parts(applications: Mapping[str, Any], from_http: list[Part]) -> list[Part]:
    """What `/readyz` says once it answers, and until then what Serve says of the deployments."""
    deployments = {
        name: deployment
        for application in applications.values()
        for name, deployment in application.get("deployments", {}).items()
    }
    serve = [
        Part(name, deployment["status"] == "HEALTHY", _last_line(deployment.get("message", "")))
        for name, deployment in deployments.items()
    ]
    known = {part.name: part for part in from_http}
    merged = [known.pop(part.name, part) for part in serve]
    return [*merged, *known.values()]


def failures(applications: Mapping[str, Any]) -> list[str]:
    """Why applications will not come up, part by part; empty while they still may."""
    found: list[str] = []
    for name, application in applications.items():
        broken = {
            part: deployment.get("message", "")
            for part, deployment in application.get("deployments", {}).items()
            if deployment["status"] == "DEPLOY_FAILED"
        }
        if application["status"] == "DEPLOY_FAILED" and not broken:
            broken = {name: application.get("message", "")}
        found += [f"{part}: {_reason(message)}" for part, message in broken.items()]
    return found


def _reason(message: str) -> str:
    """The error at the end of a traceback, as it says itself."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    for pattern in (_OURS, _STRANGE):
        if raised := [found for line in lines if (found := pattern.match(line))]:
            return raised[-1][1]
    return (lines or ["no reason given"])[-1]


def _last_line(message: str) -> str:
    lines = message.strip().splitlines()
    return lines[-1][:100] if lines else "starting"


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def drawn(parts: list[Part]) -> Table:
    """How far each part is, as a table with a spinner where something is awaited."""
    table = Table.grid(padding=(0, 2))
    for part in sorted(parts, key=lambda part: part.name):
        mark = "[green]✓[/]" if part.ready else Spinner("dots")
        table.add_row(mark, part.name, f"[dim]{part.note}[/]" if part.ready else part.note)
    return table


def greeting(url: str) -> str:
    """Where the service is, and three requests to try."""
    json = "-H 'Content-Type: application/json'"
    return f"""Serving on {url} (docs: {url}/docs). Ctrl-C stops it. Try:
  curl -s {url}/v1/search {json} \\
    -d '{{"query": "a western with Clint Eastwood", "limit": 3}}'
  curl -s {url}/v1/recommendations {json} \\
    -d '{{"user_id": "1", "limit": 3, "evidence": true}}'
  curl -sN {url}/v1/recommendations {json} -H 'Accept: text/event-stream' \\
    -d '{{"user_id": "1", "limit": 2, "explain": "llm"}}'"""


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; 0 when it was stopped, 1 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m serve.up", description=main.__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG, help="a Serve config")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--cpus", type=int, default=max(2, os.cpu_count() or 2))
    parser.add_argument("--timeout", type=float, default=UP_S, help="seconds to wait")
    chosen = parser.parse_args(arguments)
    console = Console()
    on_terminate_raise()
    try:
        _serve(console, chosen)
    except KeyboardInterrupt:
        console.print("Stopped.")
    except LLMRecError as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False, highlight=False)
        return 1
    return 0


def _serve(console: Console, chosen: argparse.Namespace) -> None:
    require_generation(chosen.config)
    with ExitStack() as running:
        with Live(Spinner("dots", "Ray starts"), console=console, transient=True) as live:
            cluster = running.enter_context(
                local_cluster(
                    chosen.config,
                    port=chosen.port,
                    cpus=chosen.cpus,
                    timeout_s=chosen.timeout,
                    told=lambda parts: live.update(drawn(parts)),
                )
            )
        console.print(greeting(cluster.url), soft_wrap=True, highlight=False)
        cluster.node.process.wait()
        raise StartFailed("Ray ended by itself.")


if __name__ == "__main__":
    sys.exit(main())
