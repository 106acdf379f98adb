"""Item messages of a stream in, the same durable changes out that HTTP's `PUT` and `DELETE` make.

A batch is one transaction of the item log, in which of each item the last message stands: the item
log keeps states, so what comes before it in the same batch would not be seen by anybody.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from llmrec_ray.catalog.live import ItemDraft, clean_item
from llmrec_ray.errors import (
    Conflict,
    Corrupt,
    EncoderMismatch,
    GenerationNotFound,
    InvalidInput,
    NotReady,
    StoreUnavailable,
)
from llmrec_ray.generation.activation import require_encoder
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.items.bodies import StreamedItem
from llmrec_ray.items.log import ItemLog
from llmrec_ray.items.writer import ItemWriter
from llmrec_ray.ports import Embedder, EncoderInfo, ObjectStore
from llmrec_ray.settings import LimitSettings
from llmrec_ray.streams.handlers import Handled, Handler, reason_of
from llmrec_ray.streams.messages import read_body
from llmrec_ray.types import FieldKind, Float32s


class Generations:
    """The manifest that is current, asked for before every batch."""

    def __init__(self, objects: ObjectStore, encoder: EncoderInfo) -> None:
        self._follower = Follower(objects)
        self._encoder = encoder

    def current(self) -> Manifest:
        """The newest one that can be read, made by this encoder; `NotReady` where there is none.

        Raises `EncoderMismatch`; and, while none was read yet, `Corrupt`, `GenerationNotFound`,
        `StoreUnavailable`.
        """
        try:
            manifest = self._follower.poll()
        except (StoreUnavailable, Corrupt, GenerationNotFound):
            manifest = self._follower.manifest
            if manifest is None:
                raise
        if manifest is None:
            raise NotReady(
                "no generation is activated, so there is nothing that items belong to. Publish one"
                " and run `llmrec generations activate`."
            )
        require_encoder(manifest, self._encoder)
        return manifest


@dataclass(frozen=True, slots=True)
class _Change:
    """One message: its place in the batch, and the item that it puts; None deletes."""

    index: int
    item_id: str
    draft: ItemDraft | None


@dataclass(frozen=True, slots=True)
class _InThread:
    """An encoder as writers of items ask for it; the handler has a thread of its own."""

    embedder: Embedder

    async def passages(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        return self.embedder.passages(texts), self.embedder.info


def items_handler(
    log: ItemLog, generations: Generations, embedder: Embedder, limits: LimitSettings
) -> Handler:
    """Items into the item log, embedded here; what no generation can take now waits for one."""
    writer = ItemWriter(log, _InThread(embedder))

    def handle(bodies: Sequence[bytes]) -> Handled:
        try:
            manifest = generations.current()
            changes, poison = _read(bodies, limits, manifest)
            newest = {change.item_id: change for change in changes}
            done = _write(writer, manifest, list(newest.values()))
        except (EncoderMismatch, Conflict, Corrupt, GenerationNotFound) as cause:
            raise NotReady(str(cause)) from cause
        return done + _superseded(changes, newest) + Handled(poison=poison)

    return handle


def read_item(body: bytes, limits: LimitSettings) -> tuple[str, ItemDraft | None]:
    """The id and the item of a message, None where it deletes; `InvalidInput` says what is wrong.

    It knows no version: the stream's order decides.
    """
    read = read_body(StreamedItem, body, limits)
    if read.title is None:
        return read.item_id, None
    return read.item_id, ItemDraft(read.item_id, read.title, read.fields)


def _read(
    bodies: Sequence[bytes], limits: LimitSettings, manifest: Manifest
) -> tuple[list[_Change], dict[int, str]]:
    kinds: dict[str, FieldKind] = {name: spec.kind for name, spec in manifest.fields.items()}
    changes: list[_Change] = []
    poison: dict[int, str] = {}
    for index, body in enumerate(bodies):
        try:
            item_id, draft = read_item(body, limits)
            if draft is not None:
                clean_item(draft, kinds)
        except InvalidInput as error:
            poison[index] = reason_of(error)
        else:
            changes.append(_Change(index, item_id, draft))
    return changes, poison


def _write(writer: ItemWriter, manifest: Manifest, changes: Sequence[_Change]) -> Handled:
    """Store changes of different items; those refused are halved until one stands alone."""
    drafts = [change.draft for change in changes if change.draft is not None]
    deleted = [change.item_id for change in changes if change.draft is None]
    try:
        written = asyncio.run(writer.write(manifest, drafts, deleted))
    except InvalidInput as error:
        if len(changes) == 1:
            return Handled(poison={changes[0].index: reason_of(error)})
        half = len(changes) // 2
        return _write(writer, manifest, changes[:half]) + _write(writer, manifest, changes[half:])
    unchanged = sum(one.outcome == "unchanged" for one in written)
    return Handled(len(written) - unchanged, unchanged)


def _superseded(changes: Sequence[_Change], newest: dict[str, _Change]) -> Handled:
    """Messages after which the same batch has another of their item; the same again counts once."""
    older = [change for change in changes if newest[change.item_id] is not change]
    again = sum(change.draft == newest[change.item_id].draft for change in older)
    return Handled(len(older) - again, again)
