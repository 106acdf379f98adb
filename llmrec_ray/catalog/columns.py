"""A raw column comes in; the clean column of its kind goes out, repairs counted in the tally."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# pyright: reportCallIssue=false, reportArgumentType=false
# (the types that pyarrow brings leave its arrays unknown, and know no Python scalars in compute)

from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llmrec_ray.catalog.repair import SUSPECT, clean_text
from llmrec_ray.catalog.report import Tally
from llmrec_ray.catalog.shape import Column

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NO_NUMBER = pa.array(["", "nan", "null", "none", "na", "n/a"])
_NO_ADDRESS = r"[\x00-\x20\x7f]"


def clean_texts(column: Column, name: str, limit: int, tally: Tally) -> Column:
    """Strings repaired and cut; null where nothing is left. Only suspect cells leave Arrow."""
    too_long = pc.greater(pc.utf8_length(column), limit)
    suspect = pc.fill_null(pc.or_(pc.match_substring_regex(column, SUSPECT), too_long), False)
    repaired: list[str] = []
    for raw in cast("list[str]", column.filter(suspect).to_pylist()):
        text, repairs = clean_text(raw, limit)
        repaired.append(text)
        for repair in repairs:
            tally.repair(f"{name}: {repair}")
    clean = pc.replace_with_mask(column, suspect, pa.array(repaired, pa.string()))
    return _null_where(clean, pc.equal(clean, ""))


def clean_tags(column: Column, name: str, limits: tuple[int, int], tally: Tally) -> Column:
    """Lists of different tags, within limits of (characters, tags); null where none is left."""
    chars, most = limits
    tags = clean_texts(column.flatten(), name, chars, tally)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0), np.int64)
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    named = np.flatnonzero(np.asarray(tags.is_valid()))
    codes = np.asarray(tags.take(named).dictionary_encode().indices, np.int64)
    _, first = np.unique(row_of[named] * (len(named) + 1) + codes, return_index=True)
    different = named[np.sort(first)]
    all_, unlike = (
        np.bincount(row_of[some], minlength=len(lengths)) for some in (named, different)
    )
    place = np.arange(len(different)) - np.repeat(np.cumsum(unlike) - unlike, unlike)
    repaired = {
        "empty tags dropped": (all_ > 0) & (all_ < lengths),
        "repeated tags dropped": unlike < all_,
        f"cut to {most} tags": unlike > most,
    }
    for repair, rows in repaired.items():
        if rows.any():
            tally.repair(f"{name}: {repair}", int(np.count_nonzero(rows)))
    counts = np.minimum(unlike, most)
    ends = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(
        ends, tags.take(different[place < most]), mask=pa.array(counts == 0)
    )


def clean_numbers(column: Column, name: str, tally: Tally) -> Column:
    """float64 in the original scale; null where a cell is empty, malformed or infinite."""
    texts = pc.utf8_trim_whitespace(column)
    texts = _null_where(texts, pc.is_in(pc.utf8_lower(texts), _NO_NUMBER))
    wellformed = _null_where(texts, pc.invert(pc.match_substring_regex(texts, _NUMBER)))
    numbers = pc.utf8_ltrim(wellformed, "+").cast(pa.float64())
    numbers = _null_where(numbers, pc.invert(pc.is_finite(numbers)))
    if malformed := numbers.null_count - texts.null_count:
        tally.repair(f"{name}: malformed number left out", malformed)
    return numbers


def clean_images(column: Column, name: str, limit: int, tally: Tally) -> Column:
    """Addresses without white space, at most `limit` characters; null otherwise."""
    texts = pc.utf8_trim_whitespace(column)
    texts = _null_where(texts, pc.equal(texts, ""))
    unusable = pc.or_(
        pc.match_substring_regex(texts, _NO_ADDRESS), pc.greater(pc.utf8_length(texts), limit)
    )
    addresses = _null_where(texts, unusable)
    if dropped := addresses.null_count - texts.null_count:
        tally.repair(f"{name}: unusable image address left out", dropped)
    return addresses


def _null_where(column: Column, condition: Column) -> Column:
    return pc.if_else(pc.fill_null(condition, False), pa.scalar(None, column.type), column)
