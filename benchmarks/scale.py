"""How do memory and time grow with the catalogue? Sizes in, a table and `results/scale.json` out.

`python benchmarks/scale.py` publishes catalogues of 10,000 to 1,000,000 items with trained shapes,
and serves each from one shard, the largest from 1 to 8. Every step has a process of its own. The
peer is numpy's matrix product over all vectors in memory, which answers the same text queries.
`--http` also starts the service on the largest, and asks it over HTTP.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.scale_http import encoder_of, served_over_http
from benchmarks.scale_steps import alone, published, recall, scanned, served
from benchmarks.written import write

SIZES = (10_000, 100_000, 1_000_000)
SHARDS = (1, 2, 4, 8)
TRUE = 100  # queries of each kind that are held against the exact scorer


def measure(folder: Path, items: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """One size: published, served from each number of shards, and held against the exact scorer."""
    largest = items == max(chosen.items)
    encoder = alone(encoder_of, chosen.model) if chosen.http else None
    made = alone(published, folder, items, chosen.queries, chosen.model, encoder)
    generation = made["generation"]
    print(f"{items:>9,} published {made['publish_s']:.1f} s, {made['peak_by_draft']:.2f} × draft")
    _, truth = alone(served, folder, generation, 1, index="exact", most=TRUE)
    peer = alone(scanned, folder, generation)  # reads the files of one shard, which others replace
    shards: dict[str, Any] = {}
    for count in chosen.shards if largest else (1,):
        figures, answers = alone(served, folder, generation, count)
        figures["recall_at_10"] = {kind: recall(truth[kind], answers[kind]) for kind in truth}
        shards[str(count)] = figures
        _print(items, figures)
    measured = {"items": items, **made, "shards": shards, "numpy": peer}
    if largest and chosen.http:
        measured["http"] = served_over_http(folder, generation, chosen.model, chosen.port)
        print(measured["http"])
    return measured


def ratios_of(sizes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What grows, from the smallest to the largest, and the largest beside the peer."""
    small, large = sizes[0], sizes[-1]
    least, most = small["shards"]["1"], large["shards"]["1"]
    found = {
        "items": large["items"],
        "resident_bytes_per_item": most["resident_bytes_per_item"],
        "resident_gib": most["resident_gib"],
        "publish_peak_by_draft": large["peak_by_draft"],
        "items_growth": large["items"] / small["items"],
        "vs_numpy_p50": large["numpy"]["p50_ms"] / most["times"]["text"]["p50_ms"],
        "vs_numpy_bytes": large["numpy"]["bytes_per_item"] / most["resident_bytes_per_item"],
        "recall_at_10": min(
            value for one in large["shards"].values() for value in one["recall_at_10"].values()
        ),
    }
    for kind, times in most["times"].items():
        for name in ("p50_ms", "p99_ms"):
            found[f"{kind}_{name}"] = times[name]
            found[f"{kind}_{name[:3]}_growth"] = times[name] / least["times"][kind][name]
    last = large["shards"][max(large["shards"], key=int)]
    found["shards_memory_growth"] = (
        last["resident_bytes_per_item"] / most["resident_bytes_per_item"]
    )
    found["shards_slowest_p50"] = (
        last["times"]["mix"]["slowest_p50_ms"] / most["times"]["mix"]["p50_ms"]
    )
    return {name: float(value) for name, value in found.items()}


def _print(items: int, figures: dict[str, Any]) -> None:
    times = " ".join(
        f"{kind} {one['p50_ms']:.2f}/{one['p99_ms']:.2f} ms"
        f" (slowest {one['slowest_p50_ms']:.2f}/{one['slowest_p99_ms']:.2f})"
        f" recall {figures['recall_at_10'][kind]:.3f}"
        for kind, one in figures["times"].items()
    )
    print(
        f"{items:>9,} in {figures['shards']} shards: prepare {figures['prepare_s']:.1f} s,"
        f" {figures['resident_bytes_per_item']:.0f} bytes/item, {figures['resident_gib']:.2f} GiB,"
        f" peak {figures['peak_gib']:.2f} GiB; {times}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--shards", type=int, nargs="+", default=list(SHARDS), help="the largest's")
    parser.add_argument("--queries", type=int, default=300, help="of each kind")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--http", action="store_true", help="ask the service as well")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--folder", type=Path, help="where catalogues are published")
    chosen = parser.parse_args(arguments)
    chosen.shards = sorted({1, *chosen.shards})
    sizes: list[dict[str, Any]] = []
    for items in sorted(chosen.items):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            sizes.append(measure(Path(folder), items, chosen))
    settings = {**vars(chosen), "folder": str(chosen.folder), "threads": 1}
    write("scale", ratios_of(sizes), {"sizes": sizes}, settings, ("faiss-cpu", "numpy", "pyarrow"))


if __name__ == "__main__":
    main()
