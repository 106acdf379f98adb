"""Clean items and their description come in; one passage text an item goes out."""

from collections.abc import Mapping

import pyarrow as pa

from llmrec_ray.catalog.description import CatalogDescription
from llmrec_ray.catalog.passage import Passage
from llmrec_ray.schemas import FIELD_PREFIX, TITLE
from llmrec_ray.types import FieldValue, Item


def item_texts(items: pa.Table, description: CatalogDescription) -> list[str]:
    """One text for each row of `items` (by `schemas.items_schema`), in the same order."""
    return passages(items, template_of(description))


def template_of(description: CatalogDescription) -> str:
    """The template that the passages of this catalogue are made with."""
    return description.passage or default_template(description)


def passages(items: pa.Table, template: str) -> list[str]:
    """One text for each row of `items`, in the same order."""
    passage = Passage(template)
    names = [TITLE if field == TITLE else FIELD_PREFIX + field for field in passage.fields]
    columns = [items.column(name).to_pylist() for name in names]
    if not columns:
        return [passage(())] * items.num_rows
    return [passage(values) for values in zip(*columns, strict=True)]


def item_passage(item: Item, template: str) -> str:
    """The text of one item, as `passages` makes it of the item's row."""
    passage = Passage(template)
    known: Mapping[str, FieldValue] = {TITLE: item.title, **item.fields}
    return passage([known.get(name) for name in passage.fields])


def default_template(description: CatalogDescription) -> str:
    """Without a template: title, every text field, every tag field, a sentence each."""
    columns = description.columns
    return " ".join(f"{{{name}}}." for name in [TITLE, *columns.text, *columns.tags])
