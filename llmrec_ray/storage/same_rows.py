"""Two Arrow tables of one schema in, which of their rows hold the same values out."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportArgumentType=false, reportCallIssue=false
# (pyarrow's stubs leave arrays of a generic type unknown)

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llmrec_ray.types import Bools

JOINT = "\x1f"


def same_rows(one: pa.Table, other: pa.Table) -> Bools:
    """bool [rows]: row by row, two missing values being the same; columns as `schemas` has them."""
    same: Bools = np.ones(one.num_rows, np.bool_)
    for left, right in zip(one.columns, other.columns, strict=True):
        same &= _same(left, right)
    return same


def _same(left: Any, right: Any) -> Bools:
    if pa.types.is_list(left.type):  # no kernel compares lists
        lengths = _same(pc.list_value_length(left), pc.list_value_length(right))
        return lengths & _same(pc.binary_join(left, JOINT), pc.binary_join(right, JOINT))
    missing = pc.and_(pc.is_null(left), pc.is_null(right))
    equal = pc.fill_null(pc.equal(left, right), False)
    return np.asarray(pc.or_(missing, equal), np.bool_)
