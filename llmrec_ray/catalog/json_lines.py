"""A JSON Lines file comes in; good rows with the cells wanted go out, others to the tally."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from llmrec_ray.catalog.csv_file import column_index
from llmrec_ray.catalog.description import Source
from llmrec_ray.catalog.lines import bad_file, text_lines
from llmrec_ray.catalog.report import Tally
from llmrec_ray.catalog.shape import Cell, Row, Wanted

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # valid as a JSON escape, but no character
_EXACT = 2**53

_Scalar = str | int | float | bool | None
_Value = _Scalar | list[_Scalar]


class _Nested(Exception):
    """An object, or a list within a list, where a value is wanted."""


def json_rows(path: Path, source: Source, columns: Sequence[Wanted], tally: Tally) -> Iterator[Row]:
    """Each good row; raises `InvalidCatalog` for a column in no row and a file cut short."""
    seen: set[str] = set()
    empty = True
    for place, line in enumerate(text_lines(path, source.encoding, tally), start=1):
        if line.isspace():
            continue
        row = _parsed(path, place, line)
        if row is None and empty and line.startswith("["):
            raise bad_file(
                path, "this is one JSON list", "Write one object a line (JSON Lines).", 1
            )
        empty = False
        reason = "no JSON object"
        if row is not None:
            seen.update(row)
            try:
                yield place, [_cell(row.get(each.column), each, source) for each in columns]
                continue
            except _Nested:
                reason = "nested value in a column"
        tally.reject(path, place, reason, {"line": line.rstrip("\r\n")})
    if empty:
        raise bad_file(path, "the file has no rows", "Write it again, or leave it out of `files`.")
    for each in columns if seen else ():
        column_index(path, sorted(seen), each.column)


def _parsed(path: Path, place: int, line: str) -> dict[str, _Value] | None:
    """The object of a line, None where there is none; a broken last line means a broken file."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as cause:
        if line.endswith("\n"):
            return None
        raise bad_file(
            path,
            "the file ends in the middle of this row: it is cut short",
            "Copy the file again, or take the row out.",
            place,
        ) from cause
    return cast("dict[str, _Value]", row) if isinstance(row, dict) else None


def _cell(value: _Value, wanted: Wanted, source: Source) -> Cell:
    if isinstance(value, list):
        texts = [text for text in map(_text, value) if text is not None]
        if wanted.shape == "list":
            return texts
        return ", ".join(texts[:1] if wanted.shape == "first" else texts)
    text = _text(value)
    if wanted.shape == "list" and text is not None:
        return text.split(source.tag_separator)
    return text


def _text(value: _Value) -> str | None:
    """A scalar as text, as Arrow writes it: 7.0 is "7", true is "true"."""
    match value:
        case None:
            return None
        case str():
            return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)
        case bool():
            return "true" if value else "false"
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
        case int():
            return str(value)
        case _:
            raise _Nested
