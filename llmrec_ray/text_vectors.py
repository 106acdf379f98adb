"""Items in, their text vectors out: reused where texts are unchanged, and otherwise encoded.

What the current generation has of the same encoder and the same text is taken from there; parts
that an interrupted run finished are taken from the object store; the rest is encoded part by part,
and each part is stored as soon as it is complete. The matrix lies in a file, not in memory.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import pyarrow as pa

from llmrec_ray.catalog.text import passages
from llmrec_ray.errors import Corrupt, EncoderMismatch, InvalidInput, StoreUnavailable
from llmrec_ray.generation.draft import ITEMS, not_of_length_one
from llmrec_ray.generation.finished import part_name, recall, remember
from llmrec_ray.generation.live_rows import read_live
from llmrec_ray.generation.manifest import Manifest, Segment
from llmrec_ray.generation.placement import FEWEST_SEGMENTS, sliced
from llmrec_ray.ports import EncoderInfo, ObjectStore
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.storage.columns import places_in, vectors, whole
from llmrec_ray.storage.same_rows import same_rows
from llmrec_ray.types import Bools, Float32s, Ints

CHUNK = 512  # texts an encoder gets at once, of like length


@dataclass(frozen=True, slots=True)
class Chunk:
    """Texts to encode, and the rows of their items, int64 [texts]."""

    rows: Ints
    texts: list[str]


Embed = Callable[[Sequence[str]], Float32s]
Pool = Callable[[Embed, Iterable[Chunk]], Iterable[tuple[Ints, Float32s]]]
"""Where chunks are encoded: yields the rows and vectors of each, in any order."""


def in_turn(embed: Embed, chunks: Iterable[Chunk]) -> Iterator[tuple[Ints, Float32s]]:
    """In this process, one chunk after the other."""
    for chunk in chunks:
        yield chunk.rows, embed(chunk.texts)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How texts become vectors: the encoder, what it is, and where it runs."""

    embed: Embed
    encoder: EncoderInfo
    pool: Pool = in_turn


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that are stored together, under the name of their texts; `lengths` int64 [rows]."""

    name: str
    rows: Ints
    lengths: Ints


def text_vectors(
    store: ObjectStore,
    items: pa.Table,
    template: str,
    encoding: Encoding,
    *,
    base: Manifest | None,
    told: Callable[[int, int], None],
) -> Float32s:
    """float32 [items, dim], mapped from a file without a name; `told` hears of texts encoded.

    Raises `EncoderMismatch` and `InvalidInput` for vectors that no generation takes.
    """
    made = _matrix((items.num_rows, encoding.encoder.dim))
    missing: Bools = np.ones(len(made), np.bool_)
    if base is not None and base.encoder.hash == encoding.encoder.hash:
        for segment in base.segments:
            rows, known = _unchanged(store, items, template, base, segment)
            made[rows] = known
            missing[rows] = False
    wanted = np.flatnonzero(missing)
    ids = cast(pa.StringArray, whole(items, ITEM_ID))
    parts: list[_Part] = []
    for each in sliced(ids, wanted, fewest=FEWEST_SEGMENTS if base is None else 1):
        part = _part(items, template, encoding.encoder.hash, each.rows)
        found = (
            recall(store, part.name, (len(part.rows), made.shape[1])) if len(part.rows) else None
        )
        if found is None:
            parts.append(part)
        else:
            made[part.rows] = found
    total = sum(len(part.rows) for part in parts)
    told(0, total)
    done = 0
    open_ = _Open(store, parts, made)
    for rows, vectors_ in encoding.pool(encoding.embed, _chunks(items, template, parts)):
        _check(vectors_, encoding.encoder, [ids[int(row)].as_py() for row in rows])
        made[rows] = vectors_
        open_.arrived(rows)
        done += len(rows)
        told(done, total)
    return made


class _Open:
    """Parts that wait for vectors: each is stored when its last one is there."""

    def __init__(self, store: ObjectStore, parts: Sequence[_Part], made: Float32s) -> None:
        self._store = store
        self._parts = parts
        self._made = made
        self._owner = np.full(len(made), -1, np.int64)
        for number, part in enumerate(parts):
            self._owner[part.rows] = number
        self._left = [len(part.rows) for part in parts]

    def arrived(self, rows: Ints) -> None:
        numbers, counts = np.unique(self._owner[rows], return_counts=True)
        for number, count in zip(map(int, numbers), map(int, counts), strict=True):
            self._left[number] -= count
            if not self._left[number]:
                part = self._parts[number]
                remember(self._store, part.name, self._made[part.rows])


def _matrix(shape: tuple[int, int]) -> Float32s:
    """Zeros in a file that is gone with the process, so that the page cache holds what is used."""
    if 0 in shape:
        return np.zeros(shape, np.float32)
    needed = shape[0] * shape[1] * np.dtype(np.float32).itemsize
    try:
        with tempfile.TemporaryFile(prefix="llmrec-vectors-") as file:
            os.posix_fallocate(file.fileno(), 0, needed)  # a hole on a full disk is a SIGBUS later
            return np.memmap(file, np.float32, "w+", shape=shape)
    except OSError as cause:
        folder = tempfile.tempdir or "a folder for temporary files"
        raise StoreUnavailable(
            f"{shape[0]:,} text vectors need {needed:,} bytes in {folder}:"
            f" {cause.strerror or cause}. Free as many, or name another folder by the environment"
            " variable TMPDIR.",
            bytes=needed,
        ) from cause


def _unchanged(
    store: ObjectStore, items: pa.Table, template: str, base: Manifest, segment: Segment
) -> tuple[Ints, Float32s]:
    """The rows whose texts a segment has too, and their vectors."""
    nothing = np.zeros(0, np.int64), np.zeros((0, base.encoder.dim), np.float32)
    if base.passage is None:
        return nothing
    [text] = [channel.name for channel in base.channels if channel.kind == "text"]
    try:
        before = read_live(store, segment, ITEMS)
        known = vectors(read_live(store, segment, text))
    except Corrupt:
        return nothing  # as if it had never been published
    rows = places_in(*(cast(pa.StringArray, whole(each, ITEM_ID)) for each in (before, items)))
    here = np.flatnonzero(rows >= 0)
    old, new = before.take(here), items.take(rows[here])
    alike: Bools = np.zeros(len(here), np.bool_)
    if template == base.passage and old.schema.equals(new.schema):
        alike = same_rows(old, new)
    other = np.flatnonzero(~alike)  # another value need not be another text
    was, now = passages(old.take(other), base.passage), passages(new.take(other), template)
    alike[other] = [text == newer for text, newer in zip(was, now, strict=True)]
    same = here[alike]
    return rows[same], known[same]


def _part(items: pa.Table, template: str, encoder: str, rows: Ints) -> _Part:
    made = passages(items.take(rows), template)
    return _Part(part_name(encoder, made), rows, np.array([len(text) for text in made], np.int64))


def _chunks(items: pa.Table, template: str, parts: Sequence[_Part]) -> Iterator[Chunk]:
    """Part by part, the longest texts first: the last chunks, for which workers wait, are short."""
    for part in parts:
        rows = part.rows[np.argsort(-part.lengths, kind="stable")]
        for start, end in pairwise([*range(0, len(rows), CHUNK), len(rows)]):
            yield Chunk(rows[start:end], passages(items.take(rows[start:end]), template))


def _check(made: Float32s, encoder: EncoderInfo, item_ids: Sequence[str]) -> None:
    """Raise for vectors of another dimension, and for any that is not finite and of length 1."""
    if made.shape != (len(item_ids), encoder.dim):
        raise EncoderMismatch(
            f"{encoder.name} returned vectors of shape {list(made.shape)} for {len(item_ids)} texts"
            f" and {encoder.dim} dimensions. Every worker must load the same model."
        )
    wrong = not_of_length_one(made)
    if len(wrong):
        raise InvalidInput(
            f"{encoder.name} returned {len(wrong)} vectors that are not finite and of length 1, for"
            f" one that of item {item_ids[int(wrong[0])]!r}. Normalise what the encoder returns.",
            channel="text",
        )
