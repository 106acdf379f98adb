"""The offline half, stage by stage: read → clean → text → embed → learn → publish → activate.

A catalogue description comes in; a published generation, current if asked for, goes out. Where the
vectors are made (in this process, on a Ray cluster) is the caller's choice: `pool` is a function.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from llmrec_ray.catalog.clean import Cleaned, clean_catalog
from llmrec_ray.catalog.description import CatalogDescription, load_description
from llmrec_ray.catalog.events import read_events
from llmrec_ray.catalog.report import Report
from llmrec_ray.catalog.text import template_of
from llmrec_ray.errors import Corrupt, GenerationNotFound
from llmrec_ray.generation.activation import Activation, activate, current
from llmrec_ray.generation.channels import (
    neighbours_channel,
    popularity_channel,
    taste_channel,
    text_channel,
)
from llmrec_ray.generation.draft import Draft
from llmrec_ray.generation.manifest import FieldSpec, Manifest, Scale
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.items.log import ItemLog, read_whole
from llmrec_ray.items.rows import folded
from llmrec_ray.learning.blocks import Spread, here
from llmrec_ray.learning.interactions import event_log
from llmrec_ray.learning.train import Content, Sizes, train
from llmrec_ray.learning.tuning import Budget, Knobs
from llmrec_ray.ports import EncoderInfo, EventStore, ObjectStore
from llmrec_ray.schemas import FIELD_PREFIX, ITEM_ID, TITLE
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.columns import texts
from llmrec_ray.text_vectors import Embed, Encoding, Pool, in_turn, text_vectors
from llmrec_ray.types import Event, EventWeights, Float32s, Float64s, Mix

WORD = re.compile(r"\w\w+")

Progress = Callable[[str, int, int], None]
"""Called with a stage (read, events, embed, learn, publish), what is done of it, and its size."""


def unseen(*_: object) -> None:
    """Progress that nobody looks at."""


class Scanned(Protocol):
    """What training reads of an event store."""

    def scan(self) -> Iterable[Event]:
        """Every event, by (user_id, time, event_id)."""
        ...


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one run made, and what it read."""

    manifest: Manifest
    activation: Activation | None
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """The stores that a run reads and writes, and who writes.

    Live items of the log replace those of the files: what was put stays until it is put again.
    """

    objects: ObjectStore
    events: EventStore
    writer: str
    items: ItemLog | None = None


def ingest(
    description: Path,
    sources: Sources,
    *,
    embed: Embed,
    encoder: EncoderInfo,
    learning: LearningSettings,
    rejected: Path,
    pool: Pool = in_turn,
    activated: bool = True,
    progress: Progress = unseen,
) -> Ingested:
    """Run every stage; rows that cannot be used go to JSONL files in the folder `rejected`.

    What the current generation has of unchanged texts is not embedded again, nor stored again.
    Raises `InvalidCatalog`, `StoreUnavailable`, `EventStoreUnavailable`; then nothing is published.
    """
    described = load_description(description)
    progress("read", 0, 1)
    cleaned = clean_catalog(described, rejected / "items.jsonl")
    progress("read", 1, 1)
    reports = [cleaned.report]
    item_seq = 0
    if sources.items is not None:
        changes, item_seq = read_whole(sources.items, 0)
        cleaned = replace(cleaned, items=folded(cleaned.items, changes))
    if described.events is not None:
        reports.append(_import(described, cleaned, sources.events, rejected, progress))
    template = template_of(described)
    base = _current(sources.objects)
    vectors = text_vectors(
        sources.objects,
        cleaned.items,
        template,
        Encoding(embed, encoder, pool),
        base=base,
        told=lambda done, size: progress("embed", done, size),
    )
    progress("learn", 0, 1)
    draft = learn(cleaned, vectors, sources.events, encoder=encoder, learning=learning)
    draft = replace(draft, passage=template, item_seq=item_seq)
    progress("learn", 1, 1)
    manifest = publish(
        sources.objects,
        draft,
        base=base,
        progress=lambda done, all_: progress("publish", done, all_),
    )
    activation = None
    if activated:
        activation = activate(sources.objects, manifest.generation, sources.writer)
    return Ingested(manifest, activation, tuple(reports))


def _current(objects: ObjectStore) -> Manifest | None:
    """The generation to go on from; None where there is none that can be read."""
    try:
        active = current(objects)
        return load_manifest(objects, active.generation) if active else None
    except (Corrupt, GenerationNotFound):
        return None


def learn(
    cleaned: Cleaned,
    vectors: Float32s,
    events: Scanned,
    *,
    encoder: EncoderInfo,
    learning: LearningSettings,
    spread: Spread = here,
) -> Draft:
    """Everything that a generation holds, from clean items, their vectors and all stored events.

    `spread` decides where the blocks of the large steps run.
    """
    ids = texts(cleaned.items, ITEM_ID)
    seen = _Seen()
    log = event_log(seen.watch(events.scan()), {item_id: code for code, item_id in enumerate(ids)})
    trained = train(
        log,
        _content(cleaned, vectors),
        starting_knobs(learning),
        sizes=_sizes(learning),
        budget=Budget(learning.tune_maps, learning.tune_mixes, learning.tune_asks, learning.seed),
        spread=spread,
    )
    pairs = trained.neighbours
    channels = [text_channel(vectors), popularity_channel(trained.popularity)]
    channels.append(neighbours_channel(ids, pairs.sources, pairs.targets, pairs.weights))
    if trained.taste is not None:
        channels.append(taste_channel(trained.taste.context, trained.taste.target))
    return Draft(
        items=cleaned.items,
        fields={
            name: FieldSpec(kind=kind, scale=_scale(cleaned, name))
            for name, kind in cleaned.fields.items()
        },
        channels=tuple(channels),
        encoder=encoder,
        weights=trained.knobs.weights,
        mix=trained.knobs.mix,
        validation_ndcg=trained.knobs.ndcg,
        events=seen.count,
        trained_until=seen.newest,
    )


def starting_knobs(learning: LearningSettings) -> Knobs:
    """What the search for knobs starts from."""
    weights = EventWeights(
        learning.event_weights,
        learning.rating_scale,
        recency=learning.recency,
        value_share=0.0,
        low_rating=learning.low_rating,
        review_text=learning.review_text,
    )
    mix = Mix(
        neighbours=1.0,
        taste=1.0,
        text=learning.mix_text,
        prior=learning.mix_prior,
        prior_fade=learning.prior_fade,
        query=learning.mix_query,
    )
    return Knobs(weights, mix, learning.ridge, learning.company)


def _sizes(learning: LearningSettings) -> Sizes:
    return Sizes(
        taste_dim=learning.taste_dim,
        neighbours=learning.neighbours,
        min_support=learning.min_support,
        window=learning.window,
        cold_ridge=learning.cold_ridge,
    )


def _content(cleaned: Cleaned, vectors: Float32s) -> Content:
    """Tags and words come item by item: all at once would take several times what items take."""
    numbers: list[Float64s] = []
    for name, scale in cleaned.scales.items():
        values = np.asarray(cleaned.items.column(FIELD_PREFIX + name).to_numpy(), np.float64)
        numbers.append((values - scale.mean) / (scale.deviation or 1.0))
    stacked = np.stack(numbers, axis=1) if numbers else np.zeros((len(vectors), 0))
    return Content(vectors, _tags(cleaned), _words(cleaned), stacked)


def _tags(cleaned: Cleaned) -> Iterator[list[str]]:
    """Each item's tags with their field's name."""
    names = [name for name, kind in cleaned.fields.items() if kind == "tags"]
    for _, *lists in _rows(cleaned.items, names):
        pairs = zip(names, lists, strict=True)
        yield [f"{name}:{tag}" for name, tags in pairs for tag in tags or ()]


def _words(cleaned: Cleaned) -> Iterator[list[str]]:
    """Each item's words, of the title and of text fields."""
    names = [name for name, kind in cleaned.fields.items() if kind == "text"]
    for said in _rows(cleaned.items, names):
        yield [word for text in said for word in WORD.findall((text or "").lower())]


def _rows(items: pa.Table, fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Each item's title and fields."""
    for batch in items.select([TITLE, *(FIELD_PREFIX + name for name in fields)]).to_batches():
        yield from zip(*batch.to_pydict().values(), strict=True)


class _Seen:
    """Counts events that stream by, and remembers the newest time."""

    def __init__(self) -> None:
        self.count = 0
        self.newest: datetime | None = None

    def watch(self, events: Iterable[Event]) -> Iterable[Event]:
        for event in events:
            self.count += 1
            self.newest = max(self.newest, event.time) if self.newest else event.time
            yield event


def _import(
    described: CatalogDescription,
    cleaned: Cleaned,
    events: EventStore,
    rejected: Path,
    progress: Progress,
) -> Report:
    read = read_events(described, texts(cleaned.items, ITEM_ID), rejected / "events.jsonl")
    size, done = read.events.num_rows, 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress("events", done, size)

    events.import_events(read.events, advance)
    return read.report


def _scale(cleaned: Cleaned, name: str) -> Scale | None:
    scale = cleaned.scales.get(name)
    return Scale(**asdict(scale)) if scale else None
