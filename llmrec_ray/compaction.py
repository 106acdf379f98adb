"""Live items in the log in, a new generation with them in it out: what `llmrec compact` does.

It merges segments too: what was changed by ingestion since lies beside them, with tombstones.

Nothing is trained or embedded anew: a changed item keeps its learned vectors, popularity and
neighbours, a new one has none until the next training. The log is only read, the generation is
content-addressed, and activations are written once: after a crash at any point it is run again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from llmrec_ray.catalog.text import item_passage
from llmrec_ray.errors import EncoderMismatch, GenerationNotFound
from llmrec_ray.generation.activation import Activation, activate_next, current
from llmrec_ray.generation.contents import draft_of
from llmrec_ray.generation.draft import TOMBSTONES, ChannelTable, Draft
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.placement import overlapping
from llmrec_ray.generation.publish import Progress, publish
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.items.log import ItemChange, ItemLog, read_whole
from llmrec_ray.items.rows import folded
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import CONTEXT, ITEM_ID, POPULARITY, TARGET, TARGET_VECTOR
from llmrec_ray.storage.columns import numbers, texts, vectors, vectors_column
from llmrec_ray.types import Float32s, Ints

Embed = Callable[[Sequence[str]], Float32s]


@dataclass(frozen=True, slots=True)
class Compacted:
    """The new generation, and how many items were put into it and taken out."""

    manifest: Manifest
    activation: Activation
    stored: int
    deleted: int


def compact(
    objects: ObjectStore,
    log: ItemLog,
    writer: str,
    embed: Embed,
    *,
    progress: Progress | None = None,
) -> Compacted | None:
    """Fold what the log has, and segments that lie beside others, into a new generation.

    None where there is neither. `progress` hears of objects stored.

    `embed` is called for items whose vectors another encoder made than the generation's, and must
    be the generation's. Raises `Conflict` where another generation was activated meanwhile.
    """
    active = current(objects)
    if active is None:
        raise GenerationNotFound(
            "no generation is active, so there is nothing to fold into. Publish a catalogue first."
        )
    manifest = load_manifest(objects, active.generation)
    changes, position = read_whole(log, manifest.item_seq)
    if not changes and not _scattered(manifest):
        return None
    live = _vectors(manifest, changes, embed)
    draft = _folded(draft_of(objects, manifest), changes, live, position)
    made = publish(objects, draft, progress=progress)
    activation = activate_next(objects, made.generation, writer, active)
    deleted = sum(change.item is None for change in changes.values())
    return Compacted(made, activation, len(changes) - deleted, deleted)


def _scattered(manifest: Manifest) -> bool:
    """Whether an item may be gone, or lie beside the segment of its bucket."""
    segments = manifest.segments
    return any(TOMBSTONES in each.objects for each in segments) or bool(
        overlapping([(each.first_bucket, each.end_bucket) for each in segments])
    )


def _vectors(
    manifest: Manifest, changes: Mapping[str, ItemChange], embed: Embed
) -> dict[str, Float32s]:
    """The text vectors of the live items, all by the generation's encoder."""
    encoder = manifest.encoder
    live = {item_id: change for item_id, change in changes.items() if change.item is not None}
    found = {
        item_id: np.frombuffer(change.vector, np.float32)
        for item_id, change in live.items()
        if change.encoder == encoder.hash
    }
    strange = [change.item for change in live.values() if change.item_id not in found]
    if not strange:
        return found
    if manifest.passage is None:
        raise EncoderMismatch(
            f"{len(strange)} live items were embedded by another model, and generation"
            f" {manifest.generation} does not say how their texts are made. Publish the catalogue"
            " again: that embeds them anew."
        )
    passage = manifest.passage
    made = embed([item_passage(item, passage) for item in strange if item is not None])
    return found | {
        item.item_id: vector for item, vector in zip(strange, made, strict=True) if item is not None
    }


@dataclass(frozen=True, slots=True)
class _Places:
    """Where rows come from: int64, the row in the generation or -1; `ids` of the new rows."""

    ids: list[str]
    rows: Ints

    def take(self, values: Float32s) -> Float32s:
        """The generation's values by new row; zeros where it has none."""
        taken = np.zeros((len(self.rows), *values.shape[1:]), np.float32)
        taken[self.rows >= 0] = values[self.rows[self.rows >= 0]]
        return taken


def _folded(
    before: Draft, changes: Mapping[str, ItemChange], live: Mapping[str, Float32s], position: int
) -> Draft:
    items = folded(before.items, changes)
    ids = texts(items, ITEM_ID)
    place = {item_id: row for row, item_id in enumerate(texts(before.items, ITEM_ID))}
    places = _Places(ids, np.array([place.get(item_id, -1) for item_id in ids], np.int64))
    channels = tuple(
        ChannelTable(each.name, each.kind, _channel(each, places, live)) for each in before.channels
    )
    return replace(before, items=items, channels=channels, item_seq=position)


def _channel(channel: ChannelTable, places: _Places, live: Mapping[str, Float32s]) -> pa.Table:
    """The channel's table, a row for each of the new rows; of neighbours, those of new rows."""
    table = channel.table
    match channel.kind:
        case "neighbours":
            known = frozenset(places.ids)
            stays = np.array([target in known for target in texts(table, TARGET)], np.bool_)
            return table.take(np.flatnonzero(stays))
        case "text":
            made = places.take(vectors(table))
            for row, item_id in enumerate(places.ids):
                if item_id in live:
                    made[row] = live[item_id]
            columns = [vectors_column(made)]
        case "taste":
            columns = [
                vectors_column(places.take(vectors(table, name)))
                for name in (CONTEXT, TARGET_VECTOR)
            ]
        case "popularity":
            values = numbers(table, POPULARITY).astype(np.float32)
            columns = [pa.array(places.take(values))]
    return pa.table(columns, schema=table.schema)
