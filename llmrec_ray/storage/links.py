"""Stored pairs of neighbours in, those of some rows out."""

import numpy as np
import pyarrow as pa

from llmrec_ray.schemas import ROW
from llmrec_ray.storage.columns import wholes
from llmrec_ray.types import Bools


def links_of(pairs: pa.Table, kept: Bools) -> pa.Table:
    """The pairs whose row `kept` (bool [rows]) marks; rows count among the kept ones."""
    new_rows = np.cumsum(kept) - 1
    rows = wholes(pairs, ROW)
    stays = np.flatnonzero(kept[rows])
    moved = pa.array(new_rows[rows[stays]].astype(np.int32))
    return pairs.take(stays).set_column(1, ROW, moved)
