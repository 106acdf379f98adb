"""A shard's matrices and tables in, the same mapped from files out: the page cache holds them once.

Replicas on one node map the same files, since a name is a hash of what its file holds. So a replica
that starts beside another neither reads the object store for them nor writes.
"""

# pyright: reportUnknownMemberType=false
# (numpy leaves the writer of file headers without types)

import os
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from io import BufferedWriter
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.types import Float32s

MATRIX, TABLE = "npy", "arrow"


class Originals:
    """A folder of matrices and tables; `prefix` tells those of one shard from the others'."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix

    def mapped(self, name: str, count: int, parts: Iterable[Float32s]) -> Float32s:
        """The parts, one below the other, read-only: `count` rows in all.

        They are read and written only unless the file is there already. Raises `StoreUnavailable`
        where the folder cannot be written.
        """
        path = self._path(name, MATRIX)
        if (known := _matrix(path, count)) is not None:
            _touch(path)
            return known
        coming = iter(parts)
        first = next(coming, np.zeros((0, 0), np.float32))
        if not count or not first.shape[1]:
            return np.zeros((count, first.shape[1]), np.float32)  # an empty file cannot be mapped
        with self._writing(path) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, first.shape[1])}
            np.lib.format.write_array_header_2_0(file, header)
            for part in chain([first], coming):  # numpy's `tofile` does not tell of a full disk
                file.write(np.ascontiguousarray(part, "<f4").data)
        return np.load(path, mmap_mode="r")

    def mapped_table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """What `make` returns, which is called only unless the file is there already."""
        path = self._path(name, TABLE)
        if (known := _table(path)) is not None:
            _touch(path)
            return known
        made = make()
        with self._writing(path) as file, pa.ipc.new_file(file, made.schema) as writer:
            writer.write_table(made.combine_chunks())
        return made if (found := _table(path)) is None else found

    def forget(self, kept: Collection[str]) -> None:
        """Delete this shard's files that are older than every kept one; what is mapped stays so.

        Newer ones are of a generation that another replica has loaded before this one.
        """
        files = {path: path.stat().st_mtime_ns for path in self._folder.glob(f"{self._prefix}*")}
        stay = {path for path in files if path.stem.removeprefix(self._prefix) in kept}
        oldest = min((files[path] for path in stay), default=0)
        for path, changed in files.items():
            if path not in stay and changed < oldest:
                path.unlink(missing_ok=True)

    def _path(self, name: str, ending: str) -> Path:
        return self._folder / f"{self._prefix}{name}.{ending}"

    @contextmanager
    def _writing(self, path: Path) -> Generator[BufferedWriter]:
        """All or nothing: a replica that starts meanwhile sees the whole file or none."""
        partial: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=self._prefix, suffix=".part", dir=self._folder)
            partial = Path(name)
            with os.fdopen(handle, "wb") as file:
                yield file
            partial.replace(path)
        except OSError as cause:
            raise StoreUnavailable(
                f"cannot keep vectors in {self._folder}: {cause}. Free the disk, or name another"
                " folder by the setting search.originals."
            ) from cause
        finally:
            if partial is not None:
                partial.unlink(missing_ok=True)


class Mapping:
    """Keeps what a shard holds of one generation in `Originals`."""

    def __init__(self, originals: Originals, generation: str) -> None:
        self._originals = originals
        self._generation = generation

    def matrix(self, name: str, count: int, parts: Iterable[Float32s]) -> Float32s:
        return self._originals.mapped(f"{self._generation}-{name}", count, parts)

    def table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        return self._originals.mapped_table(f"{self._generation}-{name}", make)


def _touch(path: Path) -> None:
    """Say that a file is in use; one that another replica deletes meanwhile stays mapped."""
    with suppress(OSError):
        os.utime(path)


def _matrix(path: Path, count: int) -> Float32s | None:
    """The matrix of a file, None where there is none of so many rows."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found if len(found) == count and found.dtype == np.float32 else None


def _table(path: Path) -> pa.Table | None:
    """The table of a file, None where there is none that is whole."""
    try:
        with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
            return reader.read_all()
    except (OSError, pa.ArrowInvalid):
        return None
