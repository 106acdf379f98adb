"""The online half that writes items: items in, durable in the item log with their vectors out.

Whether there is such an item is asked of the log and of the shards.
"""

import asyncio
from collections.abc import Mapping, Sequence

from llmrec_ray.catalog.live import Given, ItemDraft
from llmrec_ray.errors import (
    ItemNotFound,
    SearchUnavailable,
    VersionConflict,
)
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.items.log import ItemChange, ItemLog, ItemWrite, Written
from llmrec_ray.items.writer import ItemWriter
from llmrec_ray.ports import PassageEmbedder, Searcher
from llmrec_ray.types import Item

ATTEMPTS = 5


class LiveItems:
    """Puts, patches and deletes items; every change is in the item log before it returns."""

    def __init__(
        self, log: ItemLog, generations: Pinned, searcher: Searcher, embedder: PassageEmbedder
    ) -> None:
        self._log = log
        self._generations = generations
        self._searcher = searcher
        self._writer = ItemWriter(log, embedder)

    async def put(self, drafts: Sequence[ItemDraft]) -> list[Written]:
        """Store a batch of items, all or none.

        Raises `InvalidInput`, `VersionConflict`, `EmbedderUnavailable`, `EncoderMismatch`,
        `EventStoreUnavailable`, `NotReady`; then nothing is stored.
        """
        return await self._writer.write(self._generations.current(), drafts)

    async def patch(
        self,
        item_id: str,
        *,
        title: str | None,
        fields: Mapping[str, Given],
        expected: int | None = None,
    ) -> Written:
        """Change what is given and keep the rest; a field of None is taken away.

        What is kept and the catalogue no longer has is dropped.

        Another writer's change in between is kept too: the patch is made again on top of it, unless
        `expected` names the version that it is meant for. Raises what `put` does, `ItemNotFound`.
        """
        for _ in range(ATTEMPTS):
            version, item = await self._newest(item_id)
            if expected is not None and expected != version:
                break
            draft = ItemDraft(item_id, title, fields, version, item)
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

    async def version(self, item_id: str) -> int:
        """The version of an item now, 0 as it was published; `ItemNotFound` where there is none.

        Raises `SearchUnavailable` where the shard that would know it is lost.
        """
        return (await self._newest(item_id))[0]

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


def _no_item(item_id: str) -> ItemNotFound:
    return ItemNotFound(f"the catalogue has no item {item_id!r}.", item_id=item_id)
