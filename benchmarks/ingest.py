"""Does ingestion keep the encoder busy, is a change cheap? A table and `results/ingest.json` out.

`python benchmarks/ingest.py` makes a catalogue of the demo's films, and beyond them of films whose
fields come from several, so that texts are different and of real lengths. It measures

- `of_raw_encoder`: texts a second of ingestion on Ray Data by those of the same encoder in as many
  bare processes, which get all texts sorted by length; in turns, the median of the ratios. Clocks
  begin when the last worker begins its first text: starts and the loading of models are left out;
- `incremental_speedup`: the seconds of the first ingestion of all items by those of a second one
  after one item in a hundred changed, from the call to the activation, Ray running already.

There are no events: learning from them takes what it takes, whatever changed.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.written import write
from demo import films
from llmrec_ray.catalog.clean import clean_catalog
from llmrec_ray.catalog.description import load_description
from llmrec_ray.catalog.text import item_texts
from llmrec_ray.parts import load_embedder, open_events, open_objects
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.ports import Embedder
from llmrec_ray.settings import Settings, load_settings
from llmrec_ray.text_vectors import CHUNK, Chunk, Embed
from llmrec_ray.types import Float32s, Ints
from serve.embedding import Encoders, Late
from serve.ingest import start

SEED = 5
CHANGED = 100  # one item in so many
FILE = "films.parquet"
NICENESS = 15  # of Ray's workers: what else runs slows both alike
Film = dict[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an encoder: when it began and ended, and of how many texts."""

    began: float
    ended: float
    texts: int


class Noted(Late):
    """An encoder in an actor that notes its calls in a folder, one file a process."""

    def __init__(self, load: "partial[Embedder]", folder: Path) -> None:
        super().__init__(load)
        self._folder = folder
        self._warm = False

    def __call__(self, texts: Sequence[str]) -> Float32s:
        if not self._warm:
            super().__call__(["warm"])
            self._warm = True
        began = time.time()
        made = super().__call__(texts)
        with (self._folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps([began, time.time(), len(texts)]) + "\n")
        return made


@dataclass
class Arrivals:
    """A pool whose last vectors' arrival is known."""

    encoders: Encoders
    last: float = 0.0

    def __call__(self, embed: Embed, chunks: Iterable[Chunk]) -> Iterator[tuple[Ints, Float32s]]:
        for found in self.encoders.pool(embed, chunks):
            self.last = time.time()
            yield found


@dataclass
class Ran:
    """One ingestion: seconds, texts a second of its encoders, what it put into the store."""

    seconds: float
    rate: float
    texts: int
    objects: int = 0
    bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict[str, float])


def rate(calls: Sequence[Sequence[Call]], end: float) -> float:
    """Texts a second from when the last worker began; a call that spans that counts in part."""
    began = max(of_one[0].began for of_one in calls)
    done = sum(
        call.texts * min(1.0, max(0.0, call.ended - began) / (call.ended - call.began))
        for of_one in calls
        for call in of_one
    )
    return done / (end - began)


def made_films(count: int) -> list[Film]:
    """The demo's films in random order; beyond them, title, makers and kind of different films."""
    with tempfile.TemporaryDirectory() as name:
        films.make(Path(name))
        lines = Path(name, films.FILMS).read_text("utf-8").splitlines()
    real: list[Film] = [json.loads(line) for line in lines]
    drawn = random.Random(SEED)
    drawn.shuffle(real)
    mixed: list[Film] = []
    while len(real) + len(mixed) < count:
        title, makers, kind = drawn.sample(real, 3)
        mixed.append(
            kind
            | {"id": f"mixed-{len(mixed)}", "title": title["title"]}
            | {name: makers[name] for name in ("director", "writer", "cast")}
        )
    return [*real, *mixed][:count]


def changed(catalog: Sequence[Film]) -> list[Film]:
    """One in a hundred with another title."""
    drawn = random.Random(SEED + 1)
    rows = set(drawn.sample(range(len(catalog)), len(catalog) // CHANGED))
    return [
        film | {"title": f"{film['title']}, the new cut"} if row in rows else film
        for row, film in enumerate(catalog)
    ]


def written(folder: Path, catalog: Iterable[Film]) -> Path:
    """The films as a catalogue in a folder: the path of its description."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(catalog)), folder / FILE)
    described = yaml.safe_load((Path(films.__file__).parent / films.DESCRIPTION).read_text("utf-8"))
    del described["events"]
    described["files"] = FILE
    path = folder / films.DESCRIPTION
    path.write_text(yaml.safe_dump(described), "utf-8")
    return path


def settings_in(folder: Path, chosen: argparse.Namespace) -> Settings:
    """Stores and a cache of their own."""
    values = {
        "object_store": {"url": f"file://{folder}/objects"},
        "event_store": {"url": f"sqlite:///{folder}/events.db"},
        "embedding": {
            "model": chosen.model,
            "runtime": chosen.runtime,
            "workers": chosen.workers,
            "batch": chosen.batch,
            "cache": str(folder / "cache"),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(values), "utf-8")
    return load_settings(path)


def ingested(description: Path, settings: Settings, folder: Path) -> Ran:
    """Run `ingest` as `serve.ingest` does, and see what it did."""
    notes = Path(tempfile.mkdtemp(dir=folder))
    objects = open_objects(settings)
    before = objects.stats("objects/")
    stages: dict[str, float] = {}
    since = time.time()
    embed = Noted(partial(load_embedder, settings, cached=True), notes)
    encoders = Encoders(embed, settings.embedding.workers)
    arrivals = Arrivals(encoders)

    def told(stage: str, *_: int) -> None:
        stages[stage] = time.time() - since

    with open_events(settings) as events:
        ingest(
            description,
            Sources(objects, events, "benchmark", events.items),
            embed=embed,
            pool=arrivals,
            encoder=encoders.info(),
            learning=settings.learning,
            rejected=folder / "rejected",
            progress=told,
        )
    seconds = time.time() - since
    calls = [
        [Call(*json.loads(line)) for line in file.read_text("utf-8").splitlines()]
        for file in notes.iterdir()
    ]
    put = {key: found for key, found in objects.stats("objects/").items() if key not in before}
    return Ran(
        seconds,
        rate(calls, arrivals.last),
        sum(call.texts for of_one in calls for call in of_one),
        len(put),
        sum(found.bytes for found in put.values()),
        stages,
    )


_loaded: list[Embedder] = []


def _load(settings: Settings) -> None:
    os.nice(NICENESS)
    _loaded.append(load_embedder(settings))
    _loaded[0].passages(["warm"])


def _encode(texts: Sequence[str]) -> Float32s:
    return _loaded[0].passages(texts)


class Bare:
    """The same encoder in as many processes, without Ray and without a cache."""

    def __init__(self, settings: Settings) -> None:
        self._workers = settings.embedding.workers
        self._pools = [
            get_context("spawn").Pool(1, _load, (settings,)) for _ in range(self._workers)
        ]

    def rate(self, texts: Sequence[str]) -> float:
        """Texts a second; the longest first."""
        for pool in self._pools:
            pool.apply(_encode, (["ready"],))
        ordered = sorted(texts, key=len, reverse=True)
        cuts = [*range(0, len(ordered), CHUNK), len(ordered)]
        chunks = [ordered[start:end] for start, end in pairwise(cuts)]
        since = time.time()
        # two in hand for each, so that none waits for the next
        waiting = [
            [pool.apply_async(_encode, (chunks.pop(0),)) for _ in range(2) if chunks]
            for pool in self._pools
        ]
        while any(waiting):
            for pool, in_hand in zip(self._pools, waiting, strict=True):
                if in_hand and in_hand[0].ready():
                    in_hand.pop(0).get()
                    if chunks:
                        in_hand.append(pool.apply_async(_encode, (chunks.pop(0),)))
            time.sleep(0.001)
        return len(ordered) / (time.time() - since)

    def close(self) -> None:
        for pool in self._pools:
            pool.terminate()
            pool.join()


def texts_of(description: Path) -> list[str]:
    """The passages of a catalogue."""
    described = load_description(description)
    return item_texts(clean_catalog(described).items, described)


def turns(
    catalog: Sequence[Film], folder: Path, chosen: argparse.Namespace
) -> list[tuple[float, float]]:
    """Raw and ingestion's texts a second, in turns, each with other films."""
    bare = Bare(settings_in(folder / "bare", chosen))
    found: list[tuple[float, float]] = []
    try:
        for turn in range(chosen.turns):
            some = catalog[turn * chosen.raw_items : (turn + 1) * chosen.raw_items]
            at = folder / f"turn-{turn}"
            description = written(at / "films", some)
            settings = settings_in(at, chosen)
            texts = texts_of(description)
            if turn % 2:
                ours = ingested(description, settings, at).rate
                raw = bare.rate(texts)
            else:
                raw = bare.rate(texts)
                ours = ingested(description, settings, at).rate
            print(f"turn {turn}: raw {raw:,.0f}/s, ingestion {ours:,.0f}/s: {ours / raw:.3f}")
            found.append((raw, ours))
    finally:
        bare.close()
    return found


def report(
    rates: Sequence[tuple[float, float]], runs: Mapping[str, Ran], chosen: argparse.Namespace
) -> None:
    """Print the table, and write the JSON file."""
    print(f"{'':12}{'seconds':>10}{'embedded':>10}{'objects':>10}{'MB put':>10}{'texts/s':>10}")
    for name, ran in runs.items():
        print(
            f"{name:12}{ran.seconds:10.1f}{ran.texts:10,}{ran.objects:10}"
            f"{ran.bytes / 1e6:10.2f}{ran.rate:10,.0f}"
        )
    ratios = {
        "of_raw_encoder": statistics.median(ours / raw for raw, ours in rates),
        "incremental_speedup": runs["all"].seconds / runs["changed"].seconds,
        "incremental_bytes": runs["changed"].bytes / runs["all"].bytes,
    }
    measured = {
        "turns": [{"raw_per_s": raw, "ingestion_per_s": ours} for raw, ours in rates],
        "runs": {
            name: {n: getattr(ran, n) for n in Ran.__annotations__} for name, ran in runs.items()
        },
        "driver_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    settings = {**vars(chosen), "seed": SEED, "threads": 1}
    write("ingest", ratios, measured, settings, ("openvino", "ray", "pyarrow"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=120_000)
    parser.add_argument("--raw-items", type=int, default=8_000, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="llmrec-ingest-"))
    catalog = made_films(max(chosen.items, chosen.turns * chosen.raw_items))
    start(None, chosen.workers)
    try:
        rates = turns(catalog, folder, chosen)
        settings = settings_in(folder / "whole", chosen)
        runs: dict[str, Ran] = {}
        whole = catalog[: chosen.items]
        for name, of_it in (("all", whole), ("changed", changed(whole))):
            runs[name] = ingested(written(folder / "films", of_it), settings, folder / "whole")
    finally:
        ray.shutdown()
        shutil.rmtree(folder)
    report(rates, runs, chosen)


if __name__ == "__main__":
    main()
