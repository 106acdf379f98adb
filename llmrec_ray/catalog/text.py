"""Clean items and their description come in; one passage text an item goes out."""

import pyarrow as pa

from llmrec_ray.catalog.description import CatalogDescription
from llmrec_ray.catalog.passage import Passage
from llmrec_ray.schemas import FIELD_PREFIX, TITLE


def item_texts(items: pa.Table, description: CatalogDescription) -> list[str]:
    """One text for each row of `items` (by `schemas.items_schema`), in the same order."""
    passage = Passage(description.passage or default_template(description))
    names = [TITLE if field == TITLE else FIELD_PREFIX + field for field in passage.fields]
    columns = [items.column(name).to_pylist() for name in names]
    if not columns:
        return [passage(())] * items.num_rows
    return [passage(values) for values in zip(*columns, strict=True)]


def default_template(description: CatalogDescription) -> str:
    """Without a template: title, every text field, every tag field, a sentence each."""
    columns = description.columns
    return " ".join(f"{{{name}}}." for name in [TITLE, *columns.text, *columns.tags])
