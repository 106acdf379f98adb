"""Filters over item fields: checked against the catalogue's, then turned into a row mask."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeArgument=false
# (pyarrow's stubs leave arrays of a generic type unknown)

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llmrec_ray.errors import InvalidFilter
from llmrec_ray.schemas import FIELD_PREFIX
from llmrec_ray.types import AllOf, AnyOf, Bools, FieldKind, Filter, Not, Range


def validate_filter(condition: Filter, fields: Mapping[str, FieldKind]) -> None:
    """Raise `InvalidFilter` where a field is unknown, or compared with values of another kind."""
    match condition:
        case Not(inner):
            validate_filter(inner, fields)
        case AllOf(inner):
            for part in inner:
                validate_filter(part, fields)
        case AnyOf(name, values):
            number = _kind(name, fields) == "number"
            for value in values:
                if isinstance(value, str) == number:
                    holds = "numbers" if number else "texts"
                    raise InvalidFilter(
                        f"field {name!r} holds {holds}, and {value!r} is not one.", field=name
                    )
        case Range(name):
            if _kind(name, fields) != "number":
                numbers = _names(fields, number=True)
                raise InvalidFilter(
                    f"field {name!r} is not a number; ranges work on: {numbers}.", field=name
                )


def mask(condition: Filter, items: pa.Table) -> Bools:
    """Which rows of an items table pass, bool [rows]; a missing value passes no comparison."""
    match condition:
        case Not(inner):
            return ~mask(inner, items)
        case AllOf(inner):
            return np.logical_and.reduce([mask(part, items) for part in inner])
        case AnyOf(name, values):
            return _any_of(items[FIELD_PREFIX + name].combine_chunks(), values)
        case Range(name):
            return _within(items[FIELD_PREFIX + name].to_numpy(), condition)


def _any_of(column: pa.Array, values: tuple[str | float, ...]) -> Bools:
    if not pa.types.is_list(column.type):
        wanted = pa.array(values, column.type)
        return pc.is_in(column, wanted).to_numpy(zero_copy_only=False)
    hits = pc.is_in(pc.list_flatten(column), pa.array(values, column.type.value_type))
    rows = pc.list_parent_indices(column).filter(hits).to_numpy()
    passed = np.zeros(len(column), dtype=np.bool_)
    passed[rows] = True
    return passed


def _within(column: np.ndarray, bounds: Range) -> Bools:
    passed = ~np.isnan(column)
    if bounds.gte is not None:
        passed &= column >= bounds.gte
    if bounds.gt is not None:
        passed &= column > bounds.gt
    if bounds.lte is not None:
        passed &= column <= bounds.lte
    if bounds.lt is not None:
        passed &= column < bounds.lt
    return passed


def _kind(name: str, fields: Mapping[str, FieldKind]) -> FieldKind:
    if name not in fields:
        raise InvalidFilter(
            f"the catalogue has no field {name!r}; it has: {_names(fields)}.", field=name
        )
    return fields[name]


def _names(fields: Mapping[str, FieldKind], *, number: bool = False) -> str:
    names = [name for name, kind in fields.items() if kind == "number" or not number]
    return ", ".join(sorted(names)) or "none"
