"""How fast is the encoder? Film passages in, a table and `results/embed.json` out.

`python benchmarks/embed.py` puts the OpenVINO runtimes beside sentence-transformers in float32, one
thread each, in one process. Every chunk of texts goes through all of them, in turns, so a busy
machine slows each alike; a speedup is the median over the chunks of the peer's time by ours.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.written import write
from demo import films
from llmrec_ray.catalog.clean import clean_catalog
from llmrec_ray.catalog.description import load_description
from llmrec_ray.catalog.text import item_texts
from llmrec_ray.embedding.openvino import OpenVinoEmbedder
from llmrec_ray.models import local_model
from llmrec_ray.types import Float32s

PEER, FAST, INT8 = "sentence-transformers fp32", "openvino", "openvino-int8"
NEAREST = 10
SEED = 5

Encode = Callable[[Sequence[str]], Float32s]


@dataclass(frozen=True, slots=True)
class Measured:
    """One runtime: its vectors, and for each chunk the seconds on the wall and on the CPU."""

    vectors: Float32s
    wall: np.ndarray
    cpu: np.ndarray


def encoders(model: str, batch: int) -> Mapping[str, Encode]:
    """The peer and the runtimes, one thread each, their models loaded."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    folder = local_model(model)
    peer = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})

    def encode(texts: Sequence[str]) -> Float32s:
        return peer.encode(
            list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )

    fast = OpenVinoEmbedder(folder, runtime=FAST, passage_prefix="", batch=batch)
    int8 = OpenVinoEmbedder(folder, runtime=INT8, passage_prefix="", batch=batch)
    return {PEER: encode, FAST: fast.passages, INT8: int8.passages}


def passages(count: int) -> list[str]:
    """Passages of the demo's films, in random order."""
    with tempfile.TemporaryDirectory() as name:
        films.make(Path(name))
        description = load_description(Path(name, films.DESCRIPTION))
        found = item_texts(clean_catalog(description).items, description)
    random.Random(SEED).shuffle(found)
    return found[:count]


def measure(chosen: Mapping[str, Encode], texts: Sequence[str], chunk: int) -> dict[str, Measured]:
    """Encode every chunk with everyone, each chunk beginning with another one."""
    names = list(chosen)
    for name in names:
        chosen[name](texts[:chunk])  # the first call plans memory
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    vectors: dict[str, list[Float32s]] = {name: [] for name in names}
    for turn, start in enumerate(range(0, len(texts), chunk)):
        part = texts[start : start + chunk]
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            since, before = time.perf_counter(), time.process_time()
            vectors[name].append(chosen[name](part))
            wall[name].append(time.perf_counter() - since)
            cpu[name].append(time.process_time() - before)
    return {
        name: Measured(np.concatenate(vectors[name]), np.array(wall[name]), np.array(cpu[name]))
        for name in names
    }


def recall(exact: Float32s, tried: Float32s, queries: int) -> float:
    """How much of the exact ten nearest is found where queries and items are of the other kind."""
    truth, found = _nearest(exact, queries), _nearest(tried, queries)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True)]
    return float(np.mean(shared)) / NEAREST


def _nearest(vectors: Float32s, queries: int) -> np.ndarray:
    scores = vectors[:queries] @ vectors[queries:].T
    return np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]


def summary(measured: Mapping[str, Measured], queries: int) -> dict[str, dict[str, float]]:
    """What the table shows, for each runtime."""
    peer = measured[PEER]
    rows: dict[str, dict[str, float]] = {}
    for name, own in measured.items():
        cosines = np.sum(own.vectors * peer.vectors, axis=1)
        rows[name] = {
            "texts_per_s": len(own.vectors) / float(own.wall.sum()),
            "speedup": float(np.median(peer.wall / own.wall)),
            "cpu_speedup": float(np.median(peer.cpu / own.cpu)),
            "cosine_mean": float(cosines.mean()),
            "cosine_least": float(cosines.min()),
            "recall_at_10": recall(peer.vectors, own.vectors, queries),
        }
    return rows


def report(rows: Mapping[str, Mapping[str, float]], settings: Mapping[str, object]) -> None:
    """Print the table, and write the JSON file."""
    columns = list(rows[PEER])
    print(f"{'':28}" + "".join(f"{column:>14}" for column in columns))
    for name, row in rows.items():
        print(f"{name:28}" + "".join(f"{row[column]:14.5g}" for column in columns))
    ratios = {
        "fast_speedup": rows[FAST]["speedup"],
        "fast_cosine": rows[FAST]["cosine_least"],
        "int8_speedup": rows[INT8]["speedup"],
        "int8_recall_loss": 1 - rows[INT8]["recall_at_10"],
    }
    packages = ("openvino", "sentence-transformers", "torch")
    write("embed", ratios, {"runtimes": rows}, settings, packages)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--texts", type=int, default=4096, help="film passages to encode")
    parser.add_argument("--queries", type=int, default=512, help="of them, taken as queries")
    parser.add_argument("--chunk", type=int, default=256, help="passages a turn")
    parser.add_argument("--batch", type=int, default=32, help="of every encoder")
    chosen = parser.parse_args(arguments)
    texts = passages(chosen.texts)
    measured = measure(encoders(chosen.model, chosen.batch), texts, chosen.chunk)
    report(summary(measured, chosen.queries), {**vars(chosen), "threads": 1, "seed": SEED})


if __name__ == "__main__":
    main()
