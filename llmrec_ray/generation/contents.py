"""A published generation in; what it holds out: items and text vectors, or its whole draft."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from llmrec_ray.generation.draft import ITEMS, ChannelTable, Draft
from llmrec_ray.generation.live_rows import alive, dead_rows, read_live
from llmrec_ray.generation.manifest import Manifest, Segment
from llmrec_ray.generation.published import read_object
from llmrec_ray.ports import EncoderInfo, ObjectStore
from llmrec_ray.schemas import ITEM_ID, NEIGHBOURS_SCHEMA, ROW, SOURCE, TARGET, WEIGHT
from llmrec_ray.storage.columns import texts, vectors, wholes
from llmrec_ray.types import Float32s

TEXT = "text"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a generation knows of its items without any event; `text` float32 [items, dim]."""

    items: pa.Table
    text: Float32s


def contents(store: ObjectStore, manifest: Manifest) -> Contents:
    """Read every segment; raises `Corrupt` where an object is missing or damaged."""
    items = [read_live(store, segment, ITEMS) for segment in manifest.segments]
    text = [vectors(read_live(store, segment, TEXT)) for segment in manifest.segments]
    return Contents(pa.concat_tables(items), np.concatenate(text))


def draft_of(store: ObjectStore, manifest: Manifest) -> Draft:
    """The draft that this generation was published from, without the rows that are gone.

    Raises `Corrupt` as `contents` does.
    """
    encoder = manifest.encoder
    channels = tuple(
        ChannelTable(each.name, each.kind, _table(store, manifest, each.name, each.kind))
        for each in manifest.channels
    )
    return Draft(
        items=_table(store, manifest, ITEMS, ITEMS),
        fields=manifest.fields,
        channels=channels,
        encoder=EncoderInfo(encoder.name, encoder.hash, encoder.dim),
        weights=manifest.weights,
        mix=manifest.mix,
        events=manifest.events,
        trained_until=manifest.trained_until,
        validation_ndcg=manifest.validation_ndcg,
        text_mean=manifest.text_mean,
        passage=manifest.passage,
        item_seq=manifest.item_seq,
    )


def _table(store: ObjectStore, manifest: Manifest, name: str, kind: str) -> pa.Table:
    """One object of every segment, in their order."""
    if kind == "neighbours":
        return pa.concat_tables([_named(store, each, name) for each in manifest.segments])
    return pa.concat_tables([read_live(store, each, name) for each in manifest.segments])


def _named(store: ObjectStore, segment: Segment, name: str) -> pa.Table:
    """Neighbours by the ids of their targets, which a segment stores as its rows."""
    table = read_object(store, segment.objects[name])
    ids = np.array(texts(read_object(store, segment.objects[ITEMS]), ITEM_ID), np.object_)
    kept = table.take(
        np.flatnonzero(alive(len(ids), dead_rows(store, segment))[wholes(table, ROW)])
    )
    targets = pa.array(ids[wholes(kept, ROW)].tolist(), pa.string())
    named = kept.set_column(kept.schema.get_field_index(ROW), TARGET, targets)
    return named.select([SOURCE, TARGET, WEIGHT]).cast(NEIGHBOURS_SCHEMA)
