"""What happened to each row comes in; a report, and a file of the rejected rows, go out."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from llmrec_ray.errors import InvalidCatalog

RawValue = str | list[str] | None


@dataclass(frozen=True, slots=True)
class Report:
    """How many rows were read, kept, repaired (by field and repair) and rejected (by reason)."""

    subject: str
    read: int
    kept: int
    repaired: Mapping[str, int]
    rejected: Mapping[str, int]
    rejected_to: str | None

    def lines(self) -> list[str]:
        lines = [f"{self.subject}: {self.kept:,} of {self.read:,} rows kept"]
        if self.repaired:
            lines += ["  repaired", *_counts(self.repaired)]
        if self.rejected:
            lines += ["  rejected", *_counts(self.rejected)]
            lines += [f"  the rejected rows: {self.rejected_to}"] if self.rejected_to else []
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


def _counts(counts: Mapping[str, int]) -> list[str]:
    return [f"    {number:>9,}  {what}" for what, number in counts.items()]


class Tally:
    """Counts what happens to rows; writes rejected ones to JSONL: file, row, reason, values."""

    def __init__(self, subject: str, rejected_to: Path | None = None) -> None:
        self._subject = subject
        self._path = rejected_to
        self._file: TextIO | None = None
        self._read = 0
        self._kept = 0
        self._repaired: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        if rejected_to is not None:
            rejected_to.unlink(missing_ok=True)  # rows of an earlier run would pass for this one's

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def keep(self, rows: int) -> None:
        self._read += rows
        self._kept += rows

    def repair(self, what: str, cells: int = 1) -> None:
        self._repaired[what] += cells

    def reject(self, file: Path, row: int, reason: str, values: Mapping[str, RawValue]) -> None:
        """Count a row that is left out; `row` is where it begins, as in `RawBatch.rows`."""
        self._read += 1
        self._rejected[reason] += 1
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A lone surrogate in a raw value has no UTF-8 form: its escape is written instead.
            self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace")
        record = {"file": str(file), "row": row, "reason": reason, "values": values}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def report(self) -> Report:
        """The result; raises `InvalidCatalog` where there were rows and none was kept."""
        report = Report(
            subject=self._subject,
            read=self._read,
            kept=self._kept,
            repaired=dict(sorted(self._repaired.items())),
            rejected=dict(sorted(self._rejected.items())),
            rejected_to=str(self._path) if self._path and self._rejected else None,
        )
        if self._read and not self._kept:
            reason, rows = self._rejected.most_common(1)[0]
            where = f"; they are in {self._path}" if self._path else ""
            raise InvalidCatalog(
                f"{self._subject}: every one of {self._read:,} rows was rejected "
                f"({rows:,} for: {reason}){where}. Check the description: columns, "
                f"delimiter, format."
            )
        return report
