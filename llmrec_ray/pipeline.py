"""The offline half, said aloud: read → clean → text → embed → learn → publish → activate.

A catalogue description comes in; a published generation, current if asked for, goes out. Where the
vectors are made (in this process, on a Ray cluster) is the caller's choice: `embed` is a function.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from llmrec_ray.catalog.clean import Cleaned, clean_catalog
from llmrec_ray.catalog.description import CatalogDescription, load_description
from llmrec_ray.catalog.events import read_events
from llmrec_ray.catalog.report import Report
from llmrec_ray.catalog.text import item_texts
from llmrec_ray.feedback.user import worth
from llmrec_ray.generation.activation import Activation, activate
from llmrec_ray.generation.draft import ChannelTable, Draft
from llmrec_ray.generation.manifest import FieldSpec, Manifest, Scale
from llmrec_ray.generation.publish import publish
from llmrec_ray.learning.interactions import Interactions, by_user, interactions
from llmrec_ray.learning.neighbours import NeighbourSettings, neighbours, popularity
from llmrec_ray.ports import EncoderInfo, EventStore, ObjectStore
from llmrec_ray.schemas import (
    ITEM_ID,
    NEIGHBOURS_SCHEMA,
    POPULARITY,
    POPULARITY_SCHEMA,
    SOURCE,
    TARGET,
    VECTOR,
    WEIGHT,
    vectors_schema,
)
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.columns import texts
from llmrec_ray.types import Event, EventWeights, Float32s, Mix

Embed = Callable[[Sequence[str]], Float32s]
Progress = Callable[[str, int, int], None]
"""Called with a stage (read, events, embed, learn, publish), what is done of it, and its size."""


def unseen(*_: object) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one run made, and what it read."""

    manifest: Manifest
    activation: Activation | None
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """The stores that a run reads and writes, and who writes."""

    objects: ObjectStore
    events: EventStore
    writer: str


def ingest(
    description: Path,
    sources: Sources,
    *,
    embed: Embed,
    encoder: EncoderInfo,
    learning: LearningSettings,
    rejected: Path,
    activated: bool = True,
    progress: Progress = unseen,
) -> Ingested:
    """Run every stage; rows that cannot be used go to JSONL files in the folder `rejected`.

    Raises `InvalidCatalog`, `StoreUnavailable`, `EventStoreUnavailable`; then nothing is published.
    """
    described = load_description(description)
    progress("read", 0, 1)
    cleaned = clean_catalog(described, rejected / "items.jsonl")
    progress("read", 1, 1)
    reports = [cleaned.report]
    if described.events is not None:
        reports.append(_import(described, cleaned, sources.events, rejected, progress))
    vectors = embed(item_texts(cleaned.items, described))
    draft = learn(cleaned, vectors, sources.events, encoder=encoder, learning=learning)
    progress("learn", 1, 1)
    manifest = publish(
        sources.objects, draft, progress=lambda done, all_: progress("publish", done, all_)
    )
    activation = None
    if activated:
        activation = activate(sources.objects, manifest.generation, sources.writer)
    return Ingested(manifest, activation, tuple(reports))


def learn(
    cleaned: Cleaned,
    vectors: Float32s,
    events: EventStore,
    *,
    encoder: EncoderInfo,
    learning: LearningSettings,
) -> Draft:
    """Everything that a generation holds, from clean items, their vectors and all stored events."""
    ids = texts(cleaned.items, ITEM_ID)
    weights = EventWeights(
        learning.event_weights, learning.rating_scale, learning.recency, learning.low_rating
    )
    seen = _Seen()
    data = _interactions(seen.watch(events.scan()), ids, weights)
    return Draft(
        items=cleaned.items,
        fields={
            name: FieldSpec(kind=kind, scale=_scale(cleaned, name))
            for name, kind in cleaned.fields.items()
        },
        channels=(
            ChannelTable("text", "vectors", _vectors(vectors)),
            ChannelTable("neighbours", "neighbours", _neighbours(data, ids, learning)),
            ChannelTable("popularity", "popularity", _popularity(data)),
        ),
        encoder=encoder,
        weights=weights,
        mix=Mix(
            neighbours=learning.mix_neighbours,
            text=learning.mix_text,
            prior=learning.mix_prior,
            prior_fade=learning.prior_fade,
            query=learning.mix_query,
        ),
        events=seen.count,
        trained_until=seen.newest,
    )


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


def _interactions(
    events: Iterable[Event], ids: Sequence[str], weights: EventWeights
) -> Interactions:
    code_of = {item_id: code for code, item_id in enumerate(ids)}
    histories = (
        [
            (code_of[event.item_id], worth(event, weights))
            for event in of_user
            if event.item_id in code_of
        ]
        for of_user in by_user(events)
    )
    return interactions(histories, len(ids))


def _import(
    described: CatalogDescription,
    cleaned: Cleaned,
    events: EventStore,
    rejected: Path,
    progress: Progress,
) -> Report:
    read = read_events(described, texts(cleaned.items, ITEM_ID), rejected / "events.jsonl")
    size = done = read.events.num_rows
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress("events", done, size)

    events.import_events(read.events, advance)
    return read.report


def _scale(cleaned: Cleaned, name: str) -> Scale | None:
    scale = cleaned.scales.get(name)
    return Scale(**asdict(scale)) if scale else None


def _vectors(vectors: Float32s) -> pa.Table:
    schema = vectors_schema(vectors.shape[1])
    return pa.table({VECTOR: list(vectors.astype(np.float32))}, schema=schema)


def _neighbours(data: Interactions, ids: Sequence[str], learning: LearningSettings) -> pa.Table:
    found = neighbours(
        data,
        NeighbourSettings(
            most=learning.neighbours,
            min_support=learning.min_support,
            shrinkage=learning.shrinkage,
            window=learning.transition_window,
            transition_share=learning.transition_share,
        ),
    )
    names = pa.array(ids, pa.string())
    return pa.table(
        {
            SOURCE: names.take(found.sources),
            TARGET: names.take(found.targets),
            WEIGHT: pa.array(found.weights.astype(np.float32)),
        },
        schema=NEIGHBOURS_SCHEMA,
    )


def _popularity(data: Interactions) -> pa.Table:
    values = pa.array(popularity(data).astype(np.float32))
    return pa.table({POPULARITY: values}, schema=POPULARITY_SCHEMA)
