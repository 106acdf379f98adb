"""A text file, gzipped or not, comes in; its lines go out, stray bytes of Windows-1252 repaired."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from llmrec_ray.catalog.report import Tally
from llmrec_ray.errors import InvalidCatalog

_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
_OTHER_FILES = {
    b"PAR1": "a Parquet file: add `format: parquet`",
    b"ARROW1": "an Arrow file: add `format: arrow`",
    b"PK\x03\x04": "a zip archive (or a spreadsheet): unpack or export it",
    b"\x1f\x8b": "a gzip file: let its name end in .gz",
}


def bad_file(path: Path, problem: str, remedy: str, row: int | None = None) -> InvalidCatalog:
    """The error for a file that cannot be used."""
    if row is None:
        return InvalidCatalog(f"{path}: {problem}. {remedy}", file=str(path))
    return InvalidCatalog(f"{path}, row {row}: {problem}. {remedy}", file=str(path), row=row)


def text_lines(path: Path, encoding: str, tally: Tally) -> Iterator[str]:
    """Every line with its end; raises `InvalidCatalog` where the file is no such text."""
    number = 0  # the last good line, for the errors below
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            _check_start(path, file.peek(4096)[:4096], encoding)
            if encoding in {"utf-8", "utf-8-sig"}:
                for number, raw in enumerate(file, start=1):
                    yield _decoded(path, raw, number, tally)
            else:
                with TextIOWrapper(file, encoding, newline="") as text:
                    for line in text:
                        number += 1
                        yield line
    except UnicodeDecodeError as cause:
        raise bad_file(
            path, f"not {encoding} text", "Name its encoding as `encoding: …`.", number + 1
        ) from cause
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        raise bad_file(
            path, "the gzip file is cut short or damaged", "Copy it again.", number + 1
        ) from cause
    except OSError as cause:
        raise bad_file(
            path, f"cannot be read ({cause})", "Check the path and its rights."
        ) from cause


def _check_start(path: Path, start: bytes, encoding: str) -> None:
    if not start:
        raise bad_file(path, "the file is empty", "Write it again, or leave it out of `files`.")
    if "16" in encoding or "32" in encoding:
        return
    for magic, what in _OTHER_FILES.items():
        if start.startswith(magic):
            raise bad_file(path, "the file is no text", f"It looks like {what}.")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise bad_file(path, "the file is UTF-16", "Add `encoding: utf-16`.", 1)
    if b"\0" in start:
        raise bad_file(
            path, "the file is no text", "Name its format, or export it as CSV or JSONL."
        )


def _decoded(path: Path, raw: bytes, number: int, tally: Tally) -> str:
    """UTF-8; one or two stray bytes among ASCII are accents of Windows-1252.

    More in a row are another encoding altogether, and a guess would fill the catalogue with noise.
    """
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        pieces: list[str] = []
        at = 0
        for run in _NOT_ASCII.finditer(raw):
            pieces += [raw[at : run.start()].decode("ascii"), _accents(path, run.group(), number)]
            at = run.end()
        tally.repair("line: Windows-1252 bytes repaired")
        return "".join(pieces) + raw[at:].decode("ascii")


def _accents(path: Path, run: bytes, number: int) -> str:
    try:
        return run.decode("utf-8")
    except UnicodeDecodeError as not_utf8:
        try:
            if len(run) <= 2:
                return run.decode("cp1252")
        except UnicodeDecodeError:
            pass
        raise bad_file(
            path,
            f"not UTF-8 text (bytes {run[:8].hex(' ')})",
            "Name its encoding, `encoding: cp1252` or `gb18030` for instance, or repair the row.",
            number,
        ) from not_utf8
