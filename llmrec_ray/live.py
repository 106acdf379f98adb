"""The online half that writes items: items in, durable in the item log with their vectors out.

An item is embedded before it is stored, by the encoder that made the generation's vectors and from
a passage that the generation's template makes: what is stored can be searched at once.
"""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from llmrec_ray.catalog.live import Given, ItemDraft, clean_item
from llmrec_ray.catalog.text import item_passage
from llmrec_ray.errors import (
    Conflict,
    EmbedderUnavailable,
    InvalidInput,
    ItemNotFound,
    SearchUnavailable,
    VersionConflict,
)
from llmrec_ray.generation.activation import require_encoder
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.item_log import ItemChange, ItemLog, ItemWrite, Written
from llmrec_ray.ports import PassageEmbedder, Searcher
from llmrec_ray.types import FieldKind, Float32s, Item

ATTEMPTS = 5
NORM_TOLERANCE = 1e-3


class LiveItems:
    """Puts, patches and deletes items; every change is in the item log before it returns."""

    def __init__(
        self, log: ItemLog, generations: Pinned, searcher: Searcher, embedder: PassageEmbedder
    ) -> None:
        self._log = log
        self._generations = generations
        self._searcher = searcher
        self._embedder = embedder

    async def put(self, drafts: Sequence[ItemDraft]) -> list[Written]:
        """Store a batch of items, all or none.

        Raises `InvalidInput`, `VersionConflict`, `EmbedderUnavailable`, `EncoderMismatch`,
        `EventStoreUnavailable`, `NotReady`; then nothing is stored.
        """
        manifest = self._generations.current()
        kinds: dict[str, FieldKind] = {name: spec.kind for name, spec in manifest.fields.items()}
        items = [clean_item(draft, kinds, index) for index, draft in enumerate(drafts)]
        _check_distinct(items)
        known = await asyncio.to_thread(self._log.current, [item.item_id for item in items])
        vectors = await self._vectors(items, known, manifest)
        changes = [
            ItemWrite(item.item_id, item, vector, manifest.encoder.hash, draft.expected)
            for item, vector, draft in zip(items, vectors, drafts, strict=True)
        ]
        return await asyncio.to_thread(self._log.write, changes, manifest.item_seq)

    async def patch(
        self,
        item_id: str,
        *,
        title: str | None,
        fields: Mapping[str, Given],
        expected: int | None = None,
    ) -> Written:
        """Change what is given and keep the rest; a field of None is taken away.

        Another writer's change in between is kept too: the patch is made again on top of it, unless
        `expected` names the version that it is meant for. Raises what `put` does, `ItemNotFound`.
        """
        for _ in range(ATTEMPTS):
            version, item = await self._newest(item_id)
            if expected is not None and expected != version:
                break
            merged: dict[str, Given] = {**item.fields, **fields}
            draft = ItemDraft(item_id, item.title if title is None else title, merged, version)
            try:
                return (await self.put([draft]))[0]
            except VersionConflict:
                if expected is not None:
                    raise
        raise VersionConflict(
            f"item {item_id!r} was changed meanwhile, and nothing was stored. Read it again, and"
            " send the change anew.",
            item_id=item_id,
        )

    async def delete(self, item_id: str, expected: int | None = None) -> Written:
        """Take an item out of every answer; `ItemNotFound` where there never was one.

        While a shard is lost its items cannot be told from unknown ones, and are deleted all the
        same.
        """
        manifest = self._generations.current()
        known = await asyncio.to_thread(self._log.current, [item_id])
        if item_id not in known and await self._published(item_id, manifest, strict=False) is None:
            raise _no_item(item_id)
        change = ItemWrite(item_id, None, expected=expected)
        return (await asyncio.to_thread(self._log.write, [change], manifest.item_seq))[0]

    async def look(self, item_id: str) -> ItemChange | None:
        """An item as it was last put; None where it is as it was published, if it was.

        `ItemNotFound` where it is deleted.
        """
        change = (await asyncio.to_thread(self._log.current, [item_id])).get(item_id)
        if change is not None and change.item is None:
            raise _no_item(item_id)
        return change

    async def _newest(self, item_id: str) -> tuple[int, Item]:
        """The version and the item, from the log or else from the generation."""
        change = await self.look(item_id)
        if change is not None and change.item is not None:
            return change.version, change.item
        item = await self._published(item_id, self._generations.current(), strict=True)
        if item is None:
            raise _no_item(item_id)
        return 0, item

    async def _published(self, item_id: str, manifest: Manifest, *, strict: bool) -> Item | None:
        """The generation's item; while its shard is lost an item of no content, or an error."""
        looked = await self._searcher.lookup(manifest.generation, [item_id])
        if item_id in looked.items or looked.coverage.complete:
            return looked.items.get(item_id)
        if strict:
            raise SearchUnavailable(
                f"item {item_id!r} may be on a shard that does not answer now; try again shortly."
            )
        return Item(item_id, "")

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


def _check_distinct(items: Sequence[Item]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.item_id in seen:
            raise InvalidInput(
                f"item_id {item.item_id!r} occurs more than once in the batch. Send one of them.",
                field="item_id",
                index=index,
            )
        seen.add(item.item_id)


def _check_vectors(vectors: Float32s, count: int, dim: int) -> None:
    """What is not of length 1 (zero, or not a number) would poison every search."""
    fits = vectors.shape == (count, dim) and vectors.dtype == np.float32
    norms = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64) if fits else np.zeros(0)
    if not fits or not np.all(np.abs(norms - 1.0) <= NORM_TOLERANCE):
        raise EmbedderUnavailable(
            "the embedder gave a vector that is not finite, not of length 1 or of another"
            " dimension, so nothing was stored. Look at the model that embedding.model names."
        )


def _no_item(item_id: str) -> ItemNotFound:
    return ItemNotFound(f"the catalogue has no item {item_id!r}.", item_id=item_id)
