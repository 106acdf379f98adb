"""The content of one `results/NAME.json` in, its plot as SVG out."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OURS = "#c2410c"
PEER = "#94a3b8"
Results = Mapping[str, Any]


@contextmanager
def _figure(to: Path, columns: int, height: float = 3.6) -> Generator[Any]:
    """Axes side by side; written when they are drawn, the same bytes for the same figures."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "llmrec"
    figure, axes = plt.subplots(
        1, columns, figsize=(4.6 * columns, height), layout="constrained", squeeze=False
    )
    yield axes[0]
    for one in axes[0]:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(visible=True, which="both", alpha=0.2)
        one.set_axisbelow(True)
    figure.savefig(to, metadata={"Date": None})
    plt.close(figure)


def quality(found: Results, to: Path) -> None:
    """NDCG@10 of ours and of each peer, with 95 % intervals: one panel a trial."""
    trials = [
        ("movielens-small warm", "warm", "films, warm users"),
        ("beauty loo", "loo", "Beauty, next event"),
        ("movielens-small cold-items", "only-cold", "films without events"),
        ("movielens-small cold-users", "k1", "film users of one event"),
    ]
    with _figure(to, len(trials)) as axes:
        for panel, (run, trial, title) in zip(axes, trials, strict=True):
            systems = found["runs"][run]["trials"][trial]["systems"]
            scores = {name: one["accuracy"]["ndcg@10"] for name, one in systems.items()}
            names = sorted(scores, key=lambda name: scores[name]["mean"])
            means = [scores[name]["mean"] for name in names]
            low = [scores[name]["mean"] - scores[name]["low"] for name in names]
            high = [scores[name]["high"] - scores[name]["mean"] for name in names]
            colors = [OURS if name == "llmrec" else PEER for name in names]
            panel.barh(names, means, xerr=[low, high], color=colors, error_kw={"lw": 0.8})
            panel.set(title=title, xlabel="NDCG@10")


def search(found: Results, to: Path) -> None:
    """Recall@10 over queries a second: the peers' curves, and our point for text queries."""
    with _figure(to, 1, 4.4) as (panel,):
        for name, peer in found["peers"].items():
            curve = peer["curve"]
            rates = [point["per_s"] for point in curve]
            panel.plot(rates, [point["recall"] for point in curve], "o-", label=name)
        text = found["kinds"]["text"]
        panel.plot([text["ours_per_s"]], [text["recall"]], "D", color=OURS, label="llmrec-ray")
        panel.plot([text["faiss_per_s"]], [text["faiss_recall"]], "s", color="k", label="raw faiss")
        panel.set(xscale="log", xlabel="queries a second, one thread", ylabel="recall@10")
        panel.legend(fontsize=8)


def scale(found: Results, to: Path) -> None:
    """Times and resident memory of one shard over its items, and of the largest over shards."""
    sizes = found["sizes"]
    items = [one["items"] for one in sizes]
    alone = [one["shards"]["1"] for one in sizes]
    largest = sizes[-1]["shards"]
    with _figure(to, 3) as (times, memory, shards):
        for kind in alone[0]["times"]:
            for quantile, style in (("p50_ms", "o-"), ("p99_ms", "o--")):
                values = [one["times"][kind][quantile] for one in alone]
                times.plot(items, values, style, label=f"{kind} {quantile[:3]}")
        times.set(xscale="log", yscale="log", xlabel="items of a shard", ylabel="ms a query")
        memory.plot(items, [one["resident_bytes_per_item"] for one in alone], "ko-")
        memory.set(xscale="log", yscale="log", xlabel="items of a shard")
        memory.set(ylabel="bytes an item, beyond the page cache")
        for kind in alone[0]["times"]:
            values = [one["times"][kind]["slowest_p50_ms"] for one in largest.values()]
            shards.plot([int(count) for count in largest], values, "o-", label=f"{kind} p50")
        shards.set(xlabel=f"shards of {items[-1]:,} items", ylabel="ms, the slowest shard")
        times.legend(fontsize=8)
        shards.legend(fontsize=8)


def embed(found: Results, to: Path) -> None:
    """Texts a second of each runtime."""
    runtimes = found["runtimes"]
    with _figure(to, 1, 2.4) as (panel,):
        colors = [PEER if "sentence" in name else OURS for name in runtimes]
        panel.barh(list(runtimes), [one["texts_per_s"] for one in runtimes.values()], color=colors)
        panel.set(xlabel="texts a second, one thread")


def learning_scale(found: Results, to: Path) -> None:
    """CPU seconds of each step and peak memory over the number of events."""
    runs = found["runs"]
    events = [run["events"] for run in runs]
    with _figure(to, 2, 4.2) as (left, right):
        for name in runs[0]["stages"]:
            spent = [run["stages"][name]["cpu_seconds"] for run in runs]
            left.plot(events, spent, "o-", label=name)
        left.plot(events, [run["cpu_seconds"] for run in runs], "ko-", label="all")
        left.set(ylabel="CPU seconds, all processes")
        left.legend(fontsize=8)
        right.plot(events, [run["peak_gib"] for run in runs], "ko-")
        right.set(ylabel="peak memory, GiB, all processes")
        for panel in (left, right):
            panel.set(xscale="log", yscale="log", xlabel="events (10,000 to 100,000 items)")


PLOTS: Mapping[str, Callable[[Results, Path], None]] = {
    "quality": quality,
    "search": search,
    "scale": scale,
    "embed": embed,
    "learning_scale": learning_scale,
}
