"""A shard's matrices in, the same matrices mapped from files out: the page cache holds them once.

Replicas on one node map the same file, since its name is a hash of what it holds.
"""

# pyright: reportUnknownMemberType=false
# (numpy leaves the writer of file headers without types)

import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.types import Float32s


class Originals:
    """A folder of matrices; `prefix` tells those of one shard from the others'."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix

    def mapped(self, name: str, parts: Sequence[Float32s]) -> Float32s:
        """The parts, one below the other, read-only; written unless the file is there already.

        Raises `StoreUnavailable` where the folder cannot be written.
        """
        path = self._folder / f"{self._prefix}{name}.npy"
        shape = (sum(len(part) for part in parts), parts[0].shape[1])
        if 0 in shape:
            return np.zeros(shape, np.float32)  # an empty file cannot be mapped
        try:
            if (known := _opened(path, shape)) is not None:
                os.utime(path)
                return known
            self._write(path, parts, shape)
            return np.load(path, mmap_mode="r")
        except OSError as cause:
            raise StoreUnavailable(
                f"cannot keep vectors in {self._folder}: {cause}. Free the disk, or name another"
                " folder by the setting search.originals."
            ) from cause

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

    def _write(self, path: Path, parts: Sequence[Float32s], shape: tuple[int, int]) -> None:
        """All or nothing: a replica that starts meanwhile sees the whole file or none."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=self._prefix, suffix=".part", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                for part in parts:  # numpy's `tofile` does not tell that the disk is full
                    file.write(np.ascontiguousarray(part, "<f4").data)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def _opened(path: Path, shape: tuple[int, int]) -> Float32s | None:
    """The matrix of a file, None where there is none of that shape."""
    try:
        found = np.load(path, mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None
