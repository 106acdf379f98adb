"""A published generation in; its items and their text vectors out, as training needs them again."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from llmrec_ray.generation.draft import ITEMS
from llmrec_ray.generation.live_rows import read_live
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.ports import ObjectStore
from llmrec_ray.storage.columns import vectors
from llmrec_ray.types import Float32s

TEXT = "text"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a generation knows of its items without any event; `text` float32 [items, dim]."""

    items: pa.Table
    text: Float32s


def contents(store: ObjectStore, manifest: Manifest) -> Contents:
    """Read every segment; raises `Corrupt` where an object is missing or damaged."""
    items = [read_live(store, segment, ITEMS) for segment in manifest.segments]
    text = [vectors(read_live(store, segment, TEXT)) for segment in manifest.segments]
    return Contents(pa.concat_tables(items), np.concatenate(text))
