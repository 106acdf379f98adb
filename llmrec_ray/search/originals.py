"""A shard's matrices and tables in, the same mapped from files out: the page cache holds them once.

Replicas on one node map the same files, since a name is a hash of what its file holds. So a replica
that starts beside another neither reads the object store for them nor writes. A file ends with the
CRC-32 of all before it, which is checked each time it is mapped: a damaged one is written anew.
"""

# pyright: reportUnknownMemberType=false
# (numpy leaves the writer of file headers without types)

import logging
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from io import BufferedRandom, BufferedReader
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.types import Float32s

MATRIX, TABLE, PARTIAL = ".npy", ".arrow", ".part"
CRC_BYTES = 4  # 0.4 s a GiB from the page cache; BLAKE2b takes four times as long
READ_AT_ONCE = 1 << 20
STALLED_S = 3600  # a file that is being written is left behind only after so long without a write

_log = logging.getLogger(__name__)

T = TypeVar("T")
_Read = Callable[[Path, int], T]
"""Maps what is in a file's first bytes, of which it gets the number."""


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
        if (known := _known(path, _matrix)) is not None and len(known) == count:
            return known
        coming = iter(parts)
        first = next(coming, np.zeros((0, 0), np.float32))
        if not count or not first.shape[1]:
            return np.zeros((count, first.shape[1]), np.float32)  # an empty file cannot be mapped

        def write(file: BufferedRandom) -> None:
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, first.shape[1])}
            np.lib.format.write_array_header_2_0(file, header)
            every = chain([first], coming)  # numpy's `tofile` does not tell of a full disk
            file.writelines(np.ascontiguousarray(part, "<f4").data for part in every)

        return self._written(path, write, _matrix)

    def mapped_table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """What `make` returns, which is called only unless the file is there already."""
        path = self._path(name, TABLE)
        if (known := _known(path, _table)) is not None:
            return known
        made = make()

        def write(file: BufferedRandom) -> None:
            with pa.ipc.new_file(file, made.schema) as writer:
                writer.write_table(made.combine_chunks())

        return self._written(path, write, _table)

    def forget(self, kept: Collection[str]) -> None:
        """Delete files that are older than every kept one; what is mapped stays so.

        They are this shard's, and those of any other number of shards, whose replicas may still
        run: one that starts then writes its files anew. Newer ones are of a generation that another
        replica has loaded before this one.
        """
        files = dict(self._files())
        stay = {path for path in files if path.stem.removeprefix(self._prefix) in kept}
        oldest = min((files[path] for path in stay), default=0)
        for path, changed in files.items():
            slack = STALLED_S * 10**9 if path.suffix == PARTIAL else 0
            if path not in stay and changed < oldest - slack:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, int]]:
        """The files of this shard and of other numbers of shards, and when they were last used."""
        mine = _number_of_shards(self._prefix)
        for path in self._folder.glob("*"):
            number = _number_of_shards(path.name)
            if path.name.startswith(self._prefix) or number not in {None, mine}:
                with suppress(FileNotFoundError):  # another replica has deleted it meanwhile
                    yield path, path.stat().st_mtime_ns

    def _path(self, name: str, ending: str) -> Path:
        return self._folder / f"{self._prefix}{name}{ending}"

    def _written(self, path: Path, write: Callable[[BufferedRandom], None], read: _Read[T]) -> T:
        """All or nothing, and on the disk: a replica that starts sees the whole file or none.

        It is mapped before it has its name, by which another replica might delete it.
        """
        made: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(PARTIAL, self._prefix, self._folder)
            made = Path(name)
            with os.fdopen(handle, "w+b") as file:
                write(file)
                size = file.tell()
                file.write(_crc(file, size))
                file.flush()
                os.fsync(handle)
            found = read(made, size)
            made.replace(path)
            _sync(self._folder)
        except OSError as cause:
            raise StoreUnavailable(
                f"cannot keep vectors in {self._folder}: {cause}. Free the disk, or name another"
                " folder by the setting search.originals."
            ) from cause
        finally:
            if made is not None:
                made.unlink(missing_ok=True)
        return found


class Mapping:
    """Keeps what a shard holds of one generation in `Originals`."""

    def __init__(self, originals: Originals, generation: str) -> None:
        self._originals = originals
        self._generation = generation

    def matrix(self, name: str, count: int, parts: Iterable[Float32s]) -> Float32s:
        return self._originals.mapped(f"{self._generation}-{name}", count, parts)

    def table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        return self._originals.mapped_table(f"{self._generation}-{name}", make)


def _known(path: Path, read: _Read[T]) -> T | None:
    """What a whole file holds, which is in use from now on; None where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END) - CRC_BYTES
            sound = size > 0 and _crc(file, size) == file.read()
        if not sound:
            _log.warning("original_damaged", extra={"file": path.name})
            return None
        found = read(path, size)
        os.utime(path)
    except OSError:  # none yet, or deleted by another replica just now
        return None
    return found


def _crc(file: BufferedRandom | BufferedReader, size: int) -> bytes:
    """The checksum of a file's first bytes, behind which it then stands."""
    total, left = 0, size
    file.seek(0)
    while chunk := file.read(min(left, READ_AT_ONCE)):
        total, left = zlib.crc32(chunk, total), left - len(chunk)
    return total.to_bytes(CRC_BYTES, "big")


def _matrix(path: Path, size: int) -> Float32s:  # noqa: ARG001 its header says how long it is
    return np.load(path, mmap_mode="r")


def _table(path: Path, size: int) -> pa.Table:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file.read_buffer(size)) as reader:
        return reader.read_all()


def _number_of_shards(name: str) -> str | None:
    """What the name of a file says of how many shards it belongs to one of."""
    found = re.match(r"\d+-of-(\d+)-", name)
    return found and found.group(1)


def _sync(folder: Path) -> None:
    """Names are on the disk when this returns."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
