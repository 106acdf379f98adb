"""A generation before it is published: its tables and facts, and the checks that it must pass."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import InvalidInput
from llmrec_ray.generation.manifest import ChannelKind, FieldSpec
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.schemas import (
    CONTEXT,
    ITEM_ID,
    NEIGHBOURS_SCHEMA,
    POPULARITY,
    POPULARITY_SCHEMA,
    TARGET_VECTOR,
    TITLE,
    WEIGHT,
    items_schema,
    taste_schema,
    vectors_schema,
)
from llmrec_ray.storage.columns import dictionary, numbers, texts, vectors, vectors_dim
from llmrec_ray.types import EventWeights, Float32s, Ints, Mix

ITEMS = "items"
TOMBSTONES = "tombstones"
NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ChannelTable:
    """A channel: a row an item, except `neighbours`, which names items by id."""

    name: str
    kind: ChannelKind
    table: pa.Table

    @property
    def dim(self) -> int:
        """Dimensions of the vectors; 0 for channels without."""
        match self.kind:
            case "text":
                return vectors_dim(self.table)
            case "taste":
                return vectors_dim(self.table, CONTEXT)
            case _:
                return 0


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that one generation holds; rows of `items` in any order.

    `text_mean` is given where it must stay as it was: scores depend on it.
    """

    items: pa.Table
    fields: Mapping[str, FieldSpec]
    channels: tuple[ChannelTable, ...]
    encoder: EncoderInfo
    weights: EventWeights
    mix: Mix
    events: int
    trained_until: datetime | None
    validation_ndcg: float | None = None
    text_mean: tuple[float, ...] | None = None
    passage: str | None = None
    item_seq: int = 0


def checked(draft: Draft) -> Draft:
    """The draft with its tables in exactly the stored schemas; `InvalidInput` where it is unfit."""
    if draft.trained_until is not None and draft.trained_until.tzinfo is None:
        raise InvalidInput("trained_until needs a time zone.", field="trained_until")
    items = _checked_items(draft)
    names = [channel.name for channel in draft.channels]
    if len({*names, ITEMS, TOMBSTONES}) != len(names) + 2:
        raise InvalidInput(
            f"channels {names}: each needs a name of its own, other than {ITEMS!r} and"
            f" {TOMBSTONES!r}."
        )
    channels = tuple(
        replace(channel, table=_checked_channel(channel, draft)) for channel in draft.channels
    )
    return replace(draft, items=items, channels=channels)


def _checked_channel(channel: ChannelTable, draft: Draft) -> pa.Table:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", channel.name):
        raise InvalidInput(
            f"channel {channel.name!r}: use a name of small letters, digits and underscores."
        )
    schemas = {
        "text": vectors_schema(draft.encoder.dim),
        "taste": taste_schema(channel.dim if channel.kind == "taste" else 1),
        "popularity": POPULARITY_SCHEMA,
        "neighbours": NEIGHBOURS_SCHEMA,
    }
    table = _as(channel.name, channel.table, schemas[channel.kind])
    if any(column.null_count for column in table.columns):
        raise InvalidInput(f"channel {channel.name!r}: a value is missing.", channel=channel.name)
    if channel.kind == "neighbours":
        _check_neighbours(channel)
        return table
    if table.num_rows != draft.items.num_rows:
        raise InvalidInput(
            f"channel {channel.name!r} has {table.num_rows} rows for {draft.items.num_rows} items;"
            " it needs one for each item, in the same order.",
            channel=channel.name,
        )
    match channel.kind:
        case "text":
            _check_text(channel, draft)
        case "taste":
            _check_taste(channel)
        case _:
            _check_popularity(channel)
    return table


def _checked_items(draft: Draft) -> pa.Table:
    schema = items_schema({name: spec.kind for name, spec in draft.fields.items()})
    items = _as(ITEMS, draft.items, schema)
    if items.num_rows == 0:
        raise InvalidInput("the catalogue has no items, so there is nothing to publish.")
    for name in (ITEM_ID, TITLE):
        if items.column(name).null_count:
            raise InvalidInput(f"items: {name} is missing in some rows.", field=name)
    names, codes = dictionary(items, ITEM_ID)
    repeated = np.flatnonzero(np.bincount(codes) > 1)
    if len(repeated):
        raise InvalidInput(
            f"items: {len(repeated)} ids occur more than once,"
            f" {names[int(repeated[0])].as_py()!r} for one."
            " Clean the catalogue first.",
            field=ITEM_ID,
        )
    if names.index("").as_py() >= 0:
        raise InvalidInput("items: an item id is empty.", field=ITEM_ID)
    return items


def not_of_length_one(found: Float32s) -> Ints:
    """The rows of vectors float32 [rows, dim] that are of another length, or not finite."""
    norms = np.einsum("nd,nd->n", found, found, dtype=np.float64)
    return np.flatnonzero(~(np.abs(norms - 1.0) <= NORM_TOLERANCE))  # NaN is wrong too


def _check_text(channel: ChannelTable, draft: Draft) -> None:
    found = vectors(channel.table)
    wrong = not_of_length_one(found)
    if len(wrong):
        item_id = texts(draft.items, ITEM_ID)[int(wrong[0])]
        raise InvalidInput(
            f"channel {channel.name!r}: {len(wrong)} vectors are not finite and of length 1, that"
            f" of item {item_id!r} for one. Normalise what the encoder returns.",
            channel=channel.name,
        )


def _check_taste(channel: ChannelTable) -> None:
    for name in (CONTEXT, TARGET_VECTOR):
        if not np.all(np.isfinite(vectors(channel.table, name))):
            raise InvalidInput(
                f"channel {channel.name!r}: a {name} vector is not finite.", channel=channel.name
            )


def _check_popularity(channel: ChannelTable) -> None:
    values = numbers(channel.table, POPULARITY)
    if not np.all((values >= 0) & (values <= 1)):
        raise InvalidInput(
            f"channel {channel.name!r}: popularity lies in [0, 1].", channel=channel.name
        )


def _check_neighbours(channel: ChannelTable) -> None:
    if not np.all(np.isfinite(numbers(channel.table, WEIGHT))):
        raise InvalidInput(
            f"channel {channel.name!r}: a neighbour's weight is not finite.", channel=channel.name
        )


def _as(name: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table under the schema itself: notes that a file's reader left would change its hash."""
    if not table.schema.equals(schema):
        raise InvalidInput(
            f"table {name!r} has columns {_drawn(table.schema)} instead of {_drawn(schema)}.",
            table=name,
        )
    return table.cast(schema)


def _drawn(schema: pa.Schema) -> str:
    return ", ".join(
        f"{name}: {kind}" for name, kind in zip(schema.names, schema.types, strict=True)
    )
