"""A published catalogue in; milliseconds of recommendations and similar items over HTTP out."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np

from llmrec_ray.generation.activation import activate
from llmrec_ray.parts import load_embedder
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.settings import Settings
from llmrec_ray.storage.local import FolderStore
from serve.up import local_cluster

UP_S = 1_200.0
WARM = 20


def encoder_of(model: str) -> EncoderInfo:
    """What the service will embed queries with: a generation names it."""
    return load_embedder(Settings.model_validate({"embedding": {"model": model}})).info


def served_over_http(folder: Path, generation: str, model: str, port: int) -> dict[str, float]:
    """Start the service of serve/config/local.yaml on the catalogue, and ask it, one client."""
    activate(FolderStore(folder / "objects"), generation, "benchmark")
    environment = {
        "LLMREC_OBJECT_STORE__URL": f"file://{folder}/objects",
        "LLMREC_EVENT_STORE__URL": f"sqlite:///{folder}/events.db",
        "LLMREC_EMBEDDING__MODEL": model,
        "LLMREC_SEARCH__ORIGINALS": f"{folder}/originals",
    }
    histories = np.load(folder / "asked.npz")["histories"]
    since = time.perf_counter()
    with local_cluster(port=port, environment=environment, timeout_s=UP_S) as cluster:
        up_s = time.perf_counter() - since
        with httpx.Client(base_url=cluster.url, timeout=60) as http:
            recommended = _timed(
                len(histories),
                lambda n: http.post(
                    "/v1/recommendations",
                    json={"session": [f"i{row}" for row in histories[n]], "limit": 10},
                ),
            )
            similar = _timed(
                len(histories),
                lambda n: http.get(f"/v1/items/i{histories[n][0]}/similar", params={"limit": 10}),
            )
    return {
        "up_s": up_s,
        "recommendations_p50_ms": float(np.percentile(recommended, 50)),
        "recommendations_p99_ms": float(np.percentile(recommended, 99)),
        "similar_p50_ms": float(np.percentile(similar, 50)),
        "similar_p99_ms": float(np.percentile(similar, 99)),
    }


def _timed(count: int, ask: Callable[[int], httpx.Response]) -> list[float]:
    """Milliseconds of each request; the first are asked twice."""
    for number in range(min(WARM, count)):
        ask(number).raise_for_status()
    spent: list[float] = []
    for number in range(count):
        since = time.perf_counter()
        ask(number).raise_for_status()
        spent.append((time.perf_counter() - since) * 1000)
    return spent
