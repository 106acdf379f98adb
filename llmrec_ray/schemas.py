"""Arrow schemas: the column names of every stored table.

The objects of one segment are row-aligned and sorted by (bucket, item_id); `neighbours` alone is
not row-aligned: it is keyed by source item and points at rows of the segment, since neighbour lists
are sharded by target.
"""

import pyarrow as pa

from llmrec_ray.types import FieldKind

ITEM_ID = "item_id"
TITLE = "title"
FIELD_PREFIX = "field."
VECTOR = "vector"
CONTEXT = "context"
TARGET_VECTOR = "target_vector"
POPULARITY = "popularity"
SOURCE = "source"
TARGET = "target"
ROW = "row"
WEIGHT = "weight"

ARROW_KINDS: dict[FieldKind, pa.DataType] = {
    "text": pa.string(),
    "tags": pa.list_(pa.string()),
    "number": pa.float64(),
    "image": pa.string(),
}


def items_schema(fields: dict[str, FieldKind]) -> pa.Schema:
    """item_id, title, then `field.NAME` for every field; null where an item has none."""
    columns = [pa.field(ITEM_ID, pa.string()), pa.field(TITLE, pa.string())]
    columns += [pa.field(FIELD_PREFIX + name, ARROW_KINDS[kind]) for name, kind in fields.items()]
    return pa.schema(columns)


def vectors_schema(dim: int) -> pa.Schema:
    """One unit vector an item, float32 [dim]."""
    return pa.schema([pa.field(VECTOR, pa.list_(pa.float32(), dim))])


def taste_schema(dim: int) -> pa.Schema:
    """One learned context vector q and one target vector p an item, float32 [dim]."""
    kind = pa.list_(pa.float32(), dim)
    return pa.schema([pa.field(CONTEXT, kind), pa.field(TARGET_VECTOR, kind)])


POPULARITY_SCHEMA = pa.schema([pa.field(POPULARITY, pa.float32())])
"""One popularity an item, in [0, 1]."""

NEIGHBOURS_SCHEMA = pa.schema(
    [pa.field(SOURCE, pa.string()), pa.field(TARGET, pa.string()), pa.field(WEIGHT, pa.float32())]
)
"""What learning hands to publish: N[source, target] = weight."""

STORED_NEIGHBOURS_SCHEMA = pa.schema(
    [pa.field(SOURCE, pa.string()), pa.field(ROW, pa.int32()), pa.field(WEIGHT, pa.float32())]
)
"""What a segment stores: the target as a row of the segment; sorted by (source, row)."""

TOMBSTONES_SCHEMA = pa.schema([pa.field(ROW, pa.int32())])
"""The rows of a segment whose items were changed or deleted since it was written, ascending."""

EVENTS_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field(ITEM_ID, pa.string()),
        pa.field("type", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC")),
    ]
)
