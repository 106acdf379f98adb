"""A segment of a published generation in; which of its rows are gone, and the others, out."""

import numpy as np
import pyarrow as pa

from llmrec_ray.generation.draft import TOMBSTONES
from llmrec_ray.generation.manifest import Segment
from llmrec_ray.generation.published import read_object
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import ROW
from llmrec_ray.storage.columns import wholes
from llmrec_ray.types import Bools, Ints


def dead_rows(store: ObjectStore, segment: Segment) -> Ints:
    """The rows whose items were changed or deleted since, ascending, int64."""
    ref = segment.objects.get(TOMBSTONES)
    return np.zeros(0, np.int64) if ref is None else wholes(read_object(store, ref), ROW)


def alive(rows: int, dead: Ints) -> Bools:
    """The complement of `dead`, bool [rows]."""
    kept: Bools = np.ones(rows, np.bool_)
    kept[dead] = False
    return kept


def read_live(store: ObjectStore, segment: Segment, name: str) -> pa.Table:
    """The rows of a row-aligned object that are not gone."""
    table = read_object(store, segment.objects[name])
    dead = dead_rows(store, segment)
    return table.take(np.flatnonzero(alive(table.num_rows, dead))) if len(dead) else table
