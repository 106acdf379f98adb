"""Every `results/NAME.json` in, `docs/benchmarks.md` and its plots out."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.plots import PLOTS

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
FIGURES = "benchmarks"  # a folder beside the page
INTRODUCTION = """\
# Benchmarks

Every figure stands beside a peer that was measured in the same run, on the same machine and the
same work; a ratio over 1 means that llmrec-ray did better, unless its line says otherwise. Times
differ between machines and ratios less, so ratios are what to read. This page is made from
`benchmarks/results/*.json` by `python benchmarks/report.py`; how each is measured is told in
[benchmarks/README.md](../benchmarks/README.md).
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What one benchmark asks, and what its ratios mean, by their names."""

    name: str
    title: str
    command: str
    ratios: dict[str, str]


QUESTIONS = (
    Question(
        "quality",
        "How well do we recommend?",
        "python benchmarks/quality.py --data FOLDER",
        {
            "movies_ndcg10": "NDCG@10, MovieLens-small, a fifth of each user's events held out",
            "movies_vs_best_peer_low": "lower 95 % bound of the difference ÷ the best peer",
            "beauty_ndcg10": "NDCG@10, Amazon Beauty, each user's last event held out",
            "beauty_recall10": "recall@10, the same",
            "beauty_vs_best_peer_low": "lower 95 % bound of the difference ÷ the best peer",
            "cold_items_movies_ndcg10": "NDCG@10 among films without events",
            "cold_user_k1_ndcg10": "NDCG@10 for users of one event",
            "cold_user_k3_ndcg10": "NDCG@10 for users of three events",
            "cold_user_k5_ndcg10": "NDCG@10 for users of five events",
        },
    ),
    Question(
        "candidates",
        "Do candidates reach the exact top ten?",
        "python benchmarks/candidates.py --data FOLDER",
        {
            f"{data}_{kind}": f"recall@10 of a compressed shard, {named}, {asked}"
            for data, named in (("movielens", "films"), ("beauty", "Beauty"))
            for kind, asked in (
                ("warm", "users with their histories"),
                ("one_event", "users of one event"),
                ("session", "sessions of three items"),
                ("text", "texts"),
            )
        },
    ),
    Question(
        "search",
        "How near and how fast is a shard's search?",
        "python benchmarks/search.py --items 120000",
        {
            "recall_at_10": "the least over text, taste, trained mix and users of one event",
            "filtered_recall_at_10": "text, with filters that pass 1, 10 and 50 %",
            "vs_faiss": "queries a second of CPU ÷ raw faiss's of the same kind in the process",
            **{
                name: f"queries a second{over} ÷ {peer}'s at its chosen ef"
                for prefix, over in (("vs_", ""), ("http_vs_", " over HTTP, 16 clients"))
                for peer in ("pgvector", "chromadb", "qdrant_edge")
                for name in [prefix + peer]
            },
        },
    ),
    Question(
        "scale",
        "How do time and memory of a shard grow?",
        "python benchmarks/scale.py",
        {
            "items": "of the largest catalogue, in one shard; those below are of it",
            "items_growth": "items of the largest ÷ the smallest's",
            "resident_bytes_per_item": "beyond the page cache and what the process itself takes",
            "resident_gib": "of all items and the process, beyond the page cache",
            "publish_peak_by_draft": "memory that publishing takes at its peak ÷ the draft's",
            "vs_numpy_p50": "median time of numpy's scan of all vectors ÷ ours; text queries",
            "vs_numpy_bytes": "resident bytes an item of that scan ÷ ours",
            "recall_at_10": "the least over kinds of queries and numbers of shards",
            "mix_p50_ms": "a user with history, median",
            "mix_p99_ms": "a user with history, 99th percentile",
            "mix_p50_growth": "by the smallest catalogue's (less is better)",
            "mix_p99_growth": "by the smallest catalogue's (less is better)",
            "text_p50_ms": "a text, median",
            "text_p99_ms": "a text, 99th percentile",
            "text_p50_growth": "by the smallest catalogue's (less is better)",
            "text_p99_growth": "by the smallest catalogue's (less is better)",
            "shards_memory_growth": "bytes an item in most shards ÷ one shard's",
            "shards_slowest_p50": "median of the slowest of most shards ÷ one shard's (mix)",
        },
    ),
    Question(
        "embed",
        "How fast is the encoder?",
        "python benchmarks/embed.py",
        {
            "fast_speedup": "texts a second of OpenVINO ÷ sentence-transformers fp32's",
            "fast_cosine": "the least cosine between the two's vectors of one text",
            "int8_speedup": "texts a second in int8 ÷ sentence-transformers fp32's",
            "int8_recall_loss": "1 - recall@10 of int8's vectors (less is better)",
        },
    ),
    Question(
        "ingest",
        "How near does ingestion come to its encoder, and what does a change cost?",
        "python benchmarks/ingest.py",
        {
            "of_raw_encoder": "texts a second of ingestion ÷ those of bare encoder processes",
            "incremental_speedup": "seconds of all items ÷ those after 1 % of them changed",
            "incremental_bytes": "bytes stored after the change ÷ those of all items",
        },
    ),
    Question(
        "consume",
        "How fast, and how surely, are events and items read from a broker?",
        "python benchmarks/consume.py",
        {
            "of_plain_appends": "events a second ÷ those of appending them to the same store",
            "of_plain_puts": "items a second ÷ those of putting them without a broker",
            "applied_once": "share of messages with one effect, the consumer killed twice",
            "lost": "messages without effect, the consumer killed twice",
        },
    ),
    Question(
        "freshness",
        "How soon does an event change the next answer?",
        "python benchmarks/freshness.py",
        {
            "freshness_p50_vs_floor": "by the same calls with nothing new (less is better)",
            "freshness_p99_vs_floor": "the same at the 99th percentile (less is better)",
            "changed_in_the_first_answer": "share of events that the very next answer shows",
        },
    ),
    Question(
        "item_freshness",
        "How soon is an item found that is put?",
        "python benchmarks/item_freshness.py",
        {
            "freshness_p50_s": "seconds from PUT to being found, at half of peak load, median",
            "freshness_p99_s": "the same, 99th percentile",
            "lost": "items that were not found",
        },
    ),
    Question(
        "swap",
        "What does a swap of generations cost callers?",
        "python benchmarks/swap.py",
        {
            "swap_failed": "calls that were refused or failed",
            "swap_mixed": "answers of more than one generation",
            "longest_vs_steady": "the longest call ÷ that without swaps (less is better)",
            "p99_vs_steady": "the 99th percentile ÷ that without swaps (less is better)",
        },
    ),
    Question(
        "learning_scale",
        "How do time and memory of training grow?",
        "python benchmarks/learning_scale.py",
        {
            "events_growth": "events of the largest run ÷ the smallest's",
            "items_growth": "items, the same",
            "cpu_growth": "CPU seconds, the same (less is better)",
            "memory_growth": "peak memory, the same (less is better)",
            "ndcg10_vs_item_knn_10000_items": "NDCG@10 on planted tastes ÷ item-kNN's",
            "ndcg10_vs_item_knn_30000_items": "the same, with 30,000 items",
        },
    ),
)


def page(results: Path) -> str:
    """The page's text: a section for each question whose result is there."""
    there = [one for one in QUESTIONS if (results / f"{one.name}.json").exists()]
    return "\n".join([INTRODUCTION, *(_section(one, _read(results, one.name)) for one in there)])


def _section(question: Question, found: dict[str, Any]) -> str:
    lines = [f"## {question.title}", "", f"`{question.command}`", ""]
    lines += ["| ratio | value | what it is |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {_short(value)} | {question.ratios.get(name, '')} |"
        for name, value in found["ratios"].items()
    ]
    if question.name in PLOTS:
        lines += ["", f"![{question.title}]({FIGURES}/{question.name}.svg)"]
    return "\n".join([*lines, "", f"_{_measured(found)}_", ""])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.5g}"


def _measured(found: dict[str, Any]) -> str:
    """Where and of what the figures are."""
    machine = found["machine"]
    changed = " with changes" if found["changed"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    return ". ".join(
        [
            f"{machine['processor']}, {machine['cpus']} CPUs",
            f"commit {found['commit'][:12]}{changed}",
            *([packages] if packages else []),
        ]
    )


def _read(results: Path, name: str) -> dict[str, Any]:
    return json.loads((results / f"{name}.json").read_text("utf-8"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page and draw the plots."""
    argparse.ArgumentParser(prog="python benchmarks/report.py", description=__doc__).parse_args(
        arguments
    )
    PAGE.write_text(page(RESULTS), "utf-8")
    figures = PAGE.parent / FIGURES
    figures.mkdir(exist_ok=True)
    for name, plot in PLOTS.items():
        if (RESULTS / f"{name}.json").exists():
            plot(_read(RESULTS, name), figures / f"{name}.svg")


if __name__ == "__main__":
    main()
