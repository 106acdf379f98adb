"""Raw rows of a catalogue come in; a clean items table, number scales and a report go out.

What cleaning does:

- a row is rejected without an id, with an id that is too long or holds control characters, without
  a title, or with an id seen before: the *first* row of an id is kept, so that one pass is enough;
- titles, texts and tags are repaired (`repair.clean_text`) and cut to their limits;
- tags lose empty and repeated ones; a number that is malformed or infinite, and an image address
  with spaces or over its limit, is left out; numbers stay in their own scale.

Cleaning what is clean changes nothing.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (the types that pyarrow brings leave its arrays unknown)

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from llmrec_ray.catalog.columns import clean_images, clean_numbers, clean_tags, clean_texts
from llmrec_ray.catalog.description import CatalogDescription, CatalogLimits, ItemColumns
from llmrec_ray.catalog.read import RawBatch, read_rows
from llmrec_ray.catalog.report import Report, Tally
from llmrec_ray.catalog.shape import Column, Shape, Wanted
from llmrec_ray.schemas import FIELD_PREFIX, ITEM_ID, TITLE, items_schema
from llmrec_ray.storage.spill import spilled
from llmrec_ray.types import FieldKind

CONTROL = r"[\x00-\x1f\x7f]"
_SHAPES: dict[FieldKind, Shape] = {
    "text": "text",
    "tags": "list",
    "number": "text",
    "image": "first",
}


@dataclass(frozen=True, slots=True)
class NumberScale:
    """How a number field is distributed: its normalised value is (x - mean) / deviation.

    A field that has one value has deviation 1, so that it normalises to 0.
    """

    minimum: float
    maximum: float
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Cleaned:
    """`items` by `schemas.items_schema(fields)`, and a scale for each number field with values."""

    items: pa.Table
    fields: dict[str, FieldKind]
    scales: dict[str, NumberScale]
    report: Report


def clean_catalog(description: CatalogDescription, rejected_to: Path | None = None) -> Cleaned:
    """Read and clean the described files; rejected rows go to the JSONL file `rejected_to`, if any.

    Raises `InvalidCatalog` for a file that cannot be used, and where no row is kept.
    """
    columns = description.columns
    with Tally("catalogue", rejected_to) as tally:
        batches = read_rows(description, _wanted(columns), tally)
        items = clean_items(batches, columns, description.limits, tally)
        report = tally.report()
    return Cleaned(items, columns.kinds, _scales(items, columns.kinds), report)


def clean_items(
    batches: Iterable[RawBatch], columns: ItemColumns, limits: CatalogLimits, tally: Tally
) -> pa.Table:
    """One pass over the batches; memory holds the ids and one batch, a file the clean items."""
    seen: set[str] = set()
    cleaned = (_clean_batch(batch, columns, limits, tally, seen=seen) for batch in batches)
    return spilled(cleaned, items_schema(columns.kinds))


def _wanted(columns: ItemColumns) -> list[Wanted]:
    fields = [
        Wanted(FIELD_PREFIX + name, columns.sources[name], _SHAPES[kind])
        for name, kind in columns.kinds.items()
    ]
    return [Wanted(ITEM_ID, columns.id), Wanted(TITLE, columns.title), *fields]


def _clean_batch(
    batch: RawBatch,
    columns: ItemColumns,
    limits: CatalogLimits,
    tally: Tally,
    *,
    seen: set[str],
) -> pa.RecordBatch:
    ids = pc.utf8_trim_whitespace(batch.table.column(ITEM_ID))
    titles = clean_texts(batch.table.column(TITLE), TITLE, limits.title_chars, tally)
    kept = _kept(batch, ids, titles, limits.id_chars, tally, seen=seen)
    rows = batch.table.take(kept)
    tally.keep(rows.num_rows)
    fields = [
        _clean_field(rows.column(FIELD_PREFIX + name), name, kind, limits, tally)
        for name, kind in columns.kinds.items()
    ]
    return pa.RecordBatch.from_arrays(
        [ids.take(kept), titles.take(kept), *fields], schema=items_schema(columns.kinds)
    )


def _kept(
    batch: RawBatch, ids: Column, titles: Column, id_chars: int, tally: Tally, *, seen: set[str]
) -> Column:
    """The rows to keep, as int64 indices; the others are rejected, for the first reason found."""
    control = pc.match_substring_regex(ids, CONTROL)
    rows = zip(
        cast("list[str | None]", ids.to_pylist()),
        cast("list[bool | None]", control.to_pylist()),
        cast("list[bool]", titles.is_valid().to_pylist()),
        strict=True,
    )
    kept: list[int] = []
    for index, (item_id, has_control, has_title) in enumerate(rows):
        if not item_id:
            reason = "missing id"
        elif len(item_id) > id_chars:
            reason = f"id over {id_chars} characters"
        elif has_control:
            reason = "control characters in the id"
        elif not has_title:
            reason = "missing title"
        elif item_id in seen:
            reason = "duplicate id"
        else:
            seen.add(item_id)
            kept.append(index)
            continue
        tally.reject(batch.file, int(batch.rows[index]), reason, batch.values(index))
    return pa.array(kept, pa.int64())


def _clean_field(
    column: Column, name: str, kind: FieldKind, limits: CatalogLimits, tally: Tally
) -> Column:
    match kind:
        case "text":
            return clean_texts(column, name, limits.text_chars, tally)
        case "tags":
            return clean_tags(column, name, (limits.tag_chars, limits.tags), tally)
        case "number":
            return clean_numbers(column, name, tally)
        case "image":
            return clean_images(column, name, limits.image_chars, tally)


def _scales(items: pa.Table, fields: dict[str, FieldKind]) -> dict[str, NumberScale]:
    scales: dict[str, NumberScale] = {}
    for name in (name for name, kind in fields.items() if kind == "number"):
        column = items.column(FIELD_PREFIX + name)
        if column.null_count == len(column):
            continue
        scales[name] = NumberScale(
            minimum=pc.min(column).as_py(),
            maximum=pc.max(column).as_py(),
            mean=pc.mean(column).as_py(),
            deviation=pc.stddev(column).as_py() or 1.0,
        )
    return scales
