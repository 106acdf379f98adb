"""Items as values in, rows of an items table out; and a table with live changes folded into it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (pyarrow's stubs leave tables from Python values unknown)

from collections.abc import Mapping, Sequence
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from llmrec_ray.items.log import ItemChange
from llmrec_ray.schemas import FIELD_PREFIX, ITEM_ID, TITLE
from llmrec_ray.storage.spill import spilled
from llmrec_ray.types import FieldValue, Item


def item_rows(items: Sequence[Item], schema: pa.Schema) -> pa.Table:
    """One row an item; what the schema does not have, or has as another kind, is left out."""
    names = [name for name in schema.names if name.startswith(FIELD_PREFIX)]
    columns: dict[str, list[object]] = {
        ITEM_ID: [item.item_id for item in items],
        TITLE: [item.title for item in items],
    }
    for name in names:
        kind = schema.field(name).type
        field = name.removeprefix(FIELD_PREFIX)
        columns[name] = [_cell(item.fields.get(field), kind) for item in items]
    return pa.table(columns, schema=schema)


def folded(table: pa.Table, changes: Mapping[str, ItemChange]) -> pa.Table:
    """The items table without what was changed or deleted, then the changed and the new items."""
    if not changes:
        return table
    changed = pa.array(changes, pa.string())
    live = [change.item for change in changes.values() if change.item is not None]
    unchanged = (
        batch.filter(pc.invert(pc.is_in(batch.column(ITEM_ID), value_set=changed)))
        for batch in table.to_batches()
    )
    return spilled(chain(unchanged, item_rows(live, table.schema).to_batches()), table.schema)


def _cell(value: FieldValue | None, kind: pa.DataType) -> object:
    """The value as the column holds it; None where the column's kind is another."""
    if isinstance(value, str):
        return value if pa.types.is_string(kind) else None
    if isinstance(value, float | int):
        return float(value) if pa.types.is_floating(kind) else None
    return list(value) if value and pa.types.is_list(kind) else None
