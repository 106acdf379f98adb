"""A published catalogue and peers that serve it in, answers a second over HTTP out, in turns.

Ours is the whole service as `serve/config/local.yaml` deploys it, with one shard, on this store. A
peer is one FastAPI app in the process that holds its index (`search_peer.py`). Both are asked for
the ten items nearest to an item, whose vector they hold, by clients that each wait for an answer
before they ask again. Ours looks the item up, excludes what users must not see, and answers with
titles and the generation; a peer answers with ids alone. All CPUs are free to both, and the clients
need theirs as well. They take turns of some seconds, and who begins changes.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import numpy as np
import yaml

from benchmarks.search_data import RUNTIME
from benchmarks.search_rivals import Peer
from serve.ray_process import port_is_free
from serve.up import CONFIG, local_cluster

CLIENTS = 16
TURNS = 4
START_S = 120.0
LOOK_S = 0.2
OUR_PORT, PEER_PORT = 8720, 8730


@dataclass(frozen=True, slots=True)
class Served:
    """Where a service answers which items are like the item of a row."""

    url: str
    path: str

    def of(self, row: int) -> str:
        return self.url + self.path.format(row)


def over_http(
    store: Path, peers: Mapping[str, tuple[Peer, int]], rows: Sequence[int], seconds: float
) -> dict[str, dict[str, float]]:
    """Each peer, at its setting, beside ours: answers a second, and ours by the peer's."""
    found: dict[str, dict[str, float]] = {}
    with _our_service(store) as ours:
        for place, (name, (peer, setting)) in enumerate(peers.items()):
            theirs = _serving(peer, name, setting, PEER_PORT + place)
            per_s = _in_turns([ours, theirs], rows, seconds)
            middle = np.median(per_s, axis=0)
            ratio = float(np.median(per_s[:, 0] / per_s[:, 1]))
            found[name] = {
                "ours_per_s": float(middle[0]),
                "per_s": float(middle[1]),
                "ratio": ratio,
            }
            print(f"  http {name:12}" + "".join(f"  {k} {v:.4g}" for k, v in found[name].items()))
    return found


@contextmanager
def _our_service(store: Path) -> Iterator[Served]:
    with local_cluster(
        _config(store), port=OUR_PORT, timeout_s=START_S, needs_generation=False
    ) as cluster:
        served = Served(cluster.url, "/v1/items/i{}/similar")
        _wait(served, "our service", lambda: cluster.node.process.poll() is not None)
        yield served


def _config(store: Path) -> dict[str, Any]:
    """The local config with one shard and no language model, which similar items never ask."""
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    application = config["applications"][0]
    application["args"] = {
        "object_store": {"url": store.as_uri()},
        "event_store": {"url": f"sqlite:///{store.parent}/events.db"},
        "embedding": {"runtime": RUNTIME},
        "search": {"shards": 1},
    }
    kept = [one for one in application["deployments"] if one["name"] != "shard-1"]
    for one in kept:
        if one["name"] == "generator":
            del one["num_replicas"]
            one["autoscaling_config"] = {
                "min_replicas": 0,
                "initial_replicas": 0,
                "max_replicas": 1,
            }
    application["deployments"] = kept
    return config


def _serving(peer: Peer, name: str, setting: int, port: int) -> Served:
    if not port_is_free(port):
        raise SystemExit(f"port {port} is taken: stop what listens there.")
    peer.serve(setting, port)
    served = Served(f"http://127.0.0.1:{port}", "/items/{}/similar")
    _wait(served, name, lambda: peer.ended)
    return served


def _wait(served: Served, name: str, ended: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and not ended():
        try:
            if httpx.get(served.of(0), timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(LOOK_S)
    raise SystemExit(f"{name} does not answer {served.of(0)}; its reason is above.")


def _in_turns(services: Sequence[Served], rows: Sequence[int], seconds: float) -> np.ndarray:
    """Answers a second, float64 [turns, services]; a first turn that warms them is left out."""
    per_s = np.zeros((TURNS + 1, len(services)))
    for turn in range(TURNS + 1):
        for place in range(len(services)):
            one = (turn + place) % len(services)
            per_s[turn, one] = asyncio.run(_answered(services[one], rows, seconds))
    return per_s[1:]


async def _answered(served: Served, rows: Sequence[int], seconds: float) -> float:
    """What the clients are answered in a second."""
    since = time.perf_counter()

    async def client(http: aiohttp.ClientSession, mine: Sequence[int]) -> int:
        done = 0
        while time.perf_counter() < since + seconds:
            async with http.get(served.of(mine[done % len(mine)])) as answer:
                answer.raise_for_status()
                await answer.read()
            done += 1
        return done

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as http:
        done = await asyncio.gather(*(client(http, rows[n::CLIENTS]) for n in range(CLIENTS)))
    return sum(done) / (time.perf_counter() - since)
