"""Publishing: from a draft to the objects and the manifest of a generation."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import cast

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import InvalidInput
from llmrec_ray.generation.buckets import BUCKETS
from llmrec_ray.generation.draft import TOMBSTONES, Draft, checked
from llmrec_ray.generation.leases import renew, writing
from llmrec_ray.generation.manifest import (
    FORMAT,
    PLAIN_FORMAT,
    Channel,
    Encoder,
    Manifest,
    ObjectRef,
    Segment,
)
from llmrec_ray.generation.placement import Part, placed
from llmrec_ray.generation.published import OBJECTS, load_manifest, manifest_key
from llmrec_ray.generation.tables import Tables
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.storage.columns import vectors, whole
from llmrec_ray.storage.tables import put_table
from llmrec_ray.types import Float64s

ID_BYTES = 6
MEAN_DIGITS = 7

Progress = Callable[[int, int], None]
"""Called with the number of objects done and of all objects."""


def publish(
    store: ObjectStore,
    draft: Draft,
    *,
    segments: int | None = None,
    base: Manifest | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Store a generation and return its manifest; what is stored already is not sent again.

    With a `base`, segments of that generation go on, and what changed since lies beside them.

    The manifest goes last, so an interrupted publish leaves nothing visible and is simply repeated.
    `Conflict` where a collection is deleting what it needs.

    The id is a hash of the content: equal drafts are one generation, and the manifest of the first
    publish stands.

    Neighbours whose target is not an item are left out, since they could never be answered; where
    all are, the ids do not belong together, and the draft is refused. A source need not be an item:
    one that left the catalogue still leads its users to its neighbours.
    """
    draft = checked(draft)
    _check_segments(segments)
    parts = placed(store, draft, base, segments)
    refs: list[dict[str, ObjectRef]] = [{} for _ in parts]
    tables = Tables(store, draft, cast(pa.StringArray, whole(draft.items, ITEM_ID)), parts, base)
    total = tables.count()
    with writing(store) as lease:
        for done, (number, name, table) in enumerate(tables.objects(), start=1):
            renew(store, lease)
            refs[number][name] = ref = _stored(store, table)
            lease.require(ref.key)
            if progress:
                progress(done, total)
        renew(store, lease)
        manifest = _manifest(draft, [_segment(*pair) for pair in zip(parts, refs, strict=True)])
        lease.require(manifest_key(manifest.generation))
        return _create(store, manifest)


def _stored(store: ObjectStore, table: pa.Table | ObjectRef) -> ObjectRef:
    if isinstance(table, ObjectRef):
        return table
    stored = put_table(store, OBJECTS, table)
    return ObjectRef(key=stored.key, hash=stored.hash, bytes=stored.bytes)


def _segment(part: Part, objects: dict[str, ObjectRef]) -> Segment:
    return Segment(
        first_bucket=part.first_bucket, end_bucket=part.end_bucket, rows=part.live, objects=objects
    )


def _check_segments(segments: int | None) -> None:
    if segments is not None and (segments < 1 or BUCKETS % segments):
        raise InvalidInput(
            f"{segments} segments: use a power of two from 1 to {BUCKETS}.", field="segments"
        )


def _manifest(draft: Draft, segments: Sequence[Segment]) -> Manifest:
    trained = draft.trained_until
    unnamed = Manifest(
        format=FORMAT if any(TOMBSTONES in each.objects for each in segments) else PLAIN_FORMAT,
        generation="",
        created_at=datetime.now(UTC),
        encoder=Encoder(name=draft.encoder.name, hash=draft.encoder.hash, dim=draft.encoder.dim),
        weights=draft.weights,
        mix=draft.mix,
        fields=dict(draft.fields),
        channels=tuple(
            Channel(name=each.name, kind=each.kind, dim=each.dim) for each in draft.channels
        ),
        text_mean=draft.text_mean or _text_mean(draft),
        segments=tuple(segments),
        items=draft.items.num_rows,
        events=draft.events,
        trained_until=trained.astimezone(UTC) if trained else None,
        validation_ndcg=draft.validation_ndcg,
        passage=draft.passage,
        item_seq=draft.item_seq,
    )
    return unnamed.model_copy(update={"generation": _id(unnamed)})


def _text_mean(draft: Draft) -> tuple[float, ...]:
    """In float32's precision: a shorter text, and the same on every machine."""
    [text] = [channel for channel in draft.channels if channel.kind == "text"]
    mean: Float64s = vectors(text.table).mean(axis=0, dtype=np.float64)
    return tuple(round(float(value), MEAN_DIGITS) for value in mean)


def _id(manifest: Manifest) -> str:
    content = manifest.model_dump(mode="json", exclude={"generation", "created_at"})
    try:
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as cause:
        raise InvalidInput("weights, mix and scales must be finite numbers.") from cause
    return f"g-{blake2b(canonical.encode(), digest_size=ID_BYTES).hexdigest()}"


def _create(store: ObjectStore, manifest: Manifest) -> Manifest:
    data = manifest.model_dump_json(indent=2).encode()
    if store.create(manifest_key(manifest.generation), data):
        return manifest
    return load_manifest(store, manifest.generation)
