"""Items and ids of deleted ones in, one transaction of the item log with the texts' vectors out.

An item is embedded before it is stored, by the encoder that made the generation's vectors and from
a passage that the generation's template makes: what is stored can be searched at once.
"""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from llmrec_ray.catalog.live import ItemDraft, clean_item
from llmrec_ray.catalog.text import item_passage
from llmrec_ray.errors import Conflict, EmbedderUnavailable, InvalidInput
from llmrec_ray.generation.activation import require_encoder
from llmrec_ray.generation.draft import not_of_length_one
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.items.log import ItemChange, ItemLog, ItemWrite, Written
from llmrec_ray.ports import PassageEmbedder
from llmrec_ray.types import FieldKind, Float32s, Item


class ItemWriter:
    """Stores changes of items; they are durable when a call returns."""

    def __init__(self, log: ItemLog, embedder: PassageEmbedder) -> None:
        self._log = log
        self._embedder = embedder

    async def write(
        self, manifest: Manifest, drafts: Sequence[ItemDraft], deleted: Sequence[str] = ()
    ) -> list[Written]:
        """Store items, then deletions, all or none; whether there was such an item is not asked.

        Raises `InvalidInput`, `VersionConflict`, `Conflict`, `EmbedderUnavailable`,
        `EncoderMismatch`, `EventStoreUnavailable`; then nothing is stored.
        """
        kinds: dict[str, FieldKind] = {name: spec.kind for name, spec in manifest.fields.items()}
        items = [clean_item(draft, kinds, index) for index, draft in enumerate(drafts)]
        _check_distinct([*(item.item_id for item in items), *deleted])
        known = await asyncio.to_thread(self._log.current, [item.item_id for item in items])
        vectors = await self._vectors(items, known, manifest)
        changes = [
            ItemWrite(item.item_id, item, vector, manifest.encoder.hash, draft.expected)
            for item, vector, draft in zip(items, vectors, drafts, strict=True)
        ]
        changes += [ItemWrite(item_id, None) for item_id in deleted]
        return await asyncio.to_thread(self._log.write, changes, manifest.item_seq)

    async def _vectors(
        self, items: Sequence[Item], known: Mapping[str, ItemChange], manifest: Manifest
    ) -> list[bytes]:
        """Float32 bytes for each item; what the log says already needs no encoder."""
        encoder = manifest.encoder.hash
        vectors = {
            item.item_id: change.vector
            for item in items
            if (change := known.get(item.item_id))
            and change.item == item
            and change.encoder == encoder
        }
        new = [item for item in items if item.item_id not in vectors]
        if new:
            template = _template(manifest)
            made, info = await self._embedder.passages([item_passage(i, template) for i in new])
            require_encoder(manifest, info)
            _check_vectors(made, len(new), manifest.encoder.dim)
            vectors |= {i.item_id: vector.tobytes() for i, vector in zip(new, made, strict=True)}
        return [vectors[item.item_id] for item in items]


def _template(manifest: Manifest) -> str:
    if manifest.passage is None:
        raise Conflict(
            f"generation {manifest.generation} was published by an earlier release, which did not"
            " keep how its texts were made, so a live item's cannot be made alike. Publish the"
            " catalogue again."
        )
    return manifest.passage


def _check_distinct(item_ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for index, item_id in enumerate(item_ids):
        if item_id in seen:
            raise InvalidInput(
                f"item_id {item_id!r} occurs more than once in the batch. Send one of them.",
                field="item_id",
                index=index,
            )
        seen.add(item_id)


def _check_vectors(vectors: Float32s, count: int, dim: int) -> None:
    """What is not of length 1 (zero, or not a number) would poison every search."""
    fits = vectors.shape == (count, dim) and vectors.dtype == np.float32
    if not fits or len(not_of_length_one(vectors)):
        raise EmbedderUnavailable(
            "the embedder gave a vector that is not finite, not of length 1 or of another"
            " dimension, so nothing was stored. Look at the model that embedding.model names."
        )
