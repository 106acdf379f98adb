"""A CSV or TSV file comes in; good rows with the cells wanted go out, others to the tally."""

import csv
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmrec_ray.catalog.description import Source
from llmrec_ray.catalog.lines import bad_file, text_lines
from llmrec_ray.catalog.report import Tally
from llmrec_ray.catalog.shape import Row, Wanted
from llmrec_ray.errors import InvalidCatalog

_UNCLOSED = "unexpected end of data"  # what the csv module says at the end of a file within quotes


class _LastLine:
    """Passes lines on and remembers the last one: what a row that cannot be parsed looked like."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.text = ""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.text = line
            yield line


def csv_rows(path: Path, source: Source, columns: Sequence[Wanted], tally: Tally) -> Iterator[Row]:
    """Each good row; raises `InvalidCatalog` for a missing column and a file cut short."""
    lines = _LastLine(text_lines(path, source.encoding, tally))
    quote = source.csv.quote
    reader = csv.reader(
        lines,
        delimiter=source.csv.delimiter or ("\t" if ".tsv" in path.suffixes else ","),
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        strict=True,
    )
    try:
        header = [name.strip() for name in source.csv.header or next(reader)]
    except (csv.Error, StopIteration) as cause:
        raise bad_file(path, "the header cannot be read", "Check delimiter, quotes.", 1) from cause
    wanted = [column_index(path, header, each.column) for each in columns]
    empty = True
    while True:
        place = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as cause:
            tally.reject(path, place, _reason(path, place, cause), {"line": lines.text.rstrip()})
            empty = False
            continue
        if cells is None:
            break
        if not cells:
            continue
        empty = False
        if len(cells) == len(header):
            yield place, [cells[index] for index in wanted]
        elif len(cells) < len(header) and not lines.text.endswith(("\n", "\r")):
            raise _cut_short(path, place)
        else:
            tally.reject(path, place, "wrong number of cells", {"cells": cells})
    if empty:
        raise bad_file(
            path, "the file has a header and no rows", "Write it again, or leave it out."
        )


def _reason(path: Path, place: int, cause: csv.Error) -> str:
    """Why one row cannot be read; raises `InvalidCatalog` where it is the file that is broken."""
    if str(cause) == _UNCLOSED:
        raise bad_file(
            path,
            "a quote that opens here is never closed: the file is cut short, or the quote is stray",
            "Copy the file again, or close the quote; `csv: {quote: ''}` reads quotes as text.",
            place,
        ) from cause
    if "field limit" in str(cause):
        return f"cell over {csv.field_size_limit():,} characters (a quote that is not closed?)"
    return "malformed quotes"


def _cut_short(path: Path, place: int) -> InvalidCatalog:
    return bad_file(
        path,
        "the file ends in the middle of this row: it is cut short",
        "Copy the file again, or take the row out.",
        place,
    )


def column_index(path: Path, header: Sequence[str], name: str) -> int:
    """Where a column is; raises `InvalidCatalog` where none or two have the name."""
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise bad_file(path, f"there are two columns {name!r}", "Give one of them another name.", 1)
    near = difflib.get_close_matches(name, header, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(header[:30])
    raise bad_file(
        path, f"there is no column {name!r}", f"There are: {shown}.{hint} Correct `columns`.", 1
    )
