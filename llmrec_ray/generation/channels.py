"""What was learned, as arrays, in; the tables that a draft's channels hold out."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from llmrec_ray.generation.draft import ChannelTable
from llmrec_ray.schemas import (
    NEIGHBOURS_SCHEMA,
    POPULARITY,
    POPULARITY_SCHEMA,
    SOURCE,
    TARGET,
    WEIGHT,
    taste_schema,
    vectors_schema,
)
from llmrec_ray.storage.columns import vectors_column
from llmrec_ray.types import Float32s, Float64s, Ints


def text_channel(vectors: Float32s) -> ChannelTable:
    """From one unit vector an item, float32 [items, dim]."""
    schema = vectors_schema(vectors.shape[1])
    return ChannelTable("text", "text", pa.table([vectors_column(vectors)], schema=schema))


def taste_channel(context: Float32s, target: Float32s) -> ChannelTable:
    """From q and p of each item, float32 [items, dim] both."""
    columns = [vectors_column(context), vectors_column(target)]
    return ChannelTable("taste", "taste", pa.table(columns, schema=taste_schema(context.shape[1])))


def neighbours_channel(
    ids: Sequence[str], sources: Ints, targets: Ints, weights: Float64s
) -> ChannelTable:
    """From pairs of places in `ids`, int64 [pairs] both, and their weights, float64 [pairs]."""
    names = pa.array(ids, pa.string())
    columns = {
        SOURCE: names.take(sources),
        TARGET: names.take(targets),
        WEIGHT: pa.array(weights.astype(np.float32)),
    }
    return ChannelTable("neighbours", "neighbours", pa.table(columns, schema=NEIGHBOURS_SCHEMA))


def popularity_channel(values: Float64s) -> ChannelTable:
    """From one popularity in [0, 1] an item, float64 [items]."""
    table = pa.table({POPULARITY: pa.array(values.astype(np.float32))}, schema=POPULARITY_SCHEMA)
    return ChannelTable("popularity", "popularity", table)
