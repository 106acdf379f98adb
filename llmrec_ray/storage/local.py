"""The object store in a folder: one file an object, written once, durable when `create` returns."""

import errno
import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from llmrec_ray.errors import InvalidInput, NotFound, StoreUnavailable
from llmrec_ray.ports import Stat
from llmrec_ray.storage.keys import check_key, check_prefix

PARTIAL = ".partial"  # a dot name: no key can reach it
LEFT_BEHIND_S = 86_400  # a file that was begun so long ago has lost its writer


class FolderStore:
    """Objects as files below `root`, which the first makes; safe for many processes.

    A store that is not `durable` leaves to the system when its files reach the disk: for tests.
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self._root = root.absolute()
        self._durable = durable
        self._swept = False

    def __repr__(self) -> str:
        return f"FolderStore({str(self._root)!r})"

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with self._reported():
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as cause:
                raise NotFound(f"{self._root} holds no object {key!r}.", key=key) from cause

    def create(self, key: str, data: bytes) -> bool:
        """A hard link to a finished file makes it visible, and fails where the name is taken."""
        path = self._path(key)
        partial = self._root / PARTIAL / uuid.uuid4().hex
        with self._reported():
            if path.exists():
                return self._taken(path, key)
            self._make_folder(partial.parent)
            self._make_room(path, key)
            try:
                self._write(partial, data)
                self._sweep(partial.stat().st_mtime - LEFT_BEHIND_S)
                os.link(partial, path)
            except FileExistsError:
                return self._taken(path, key)
            finally:
                partial.unlink(missing_ok=True)
            self._sync(path.parent)
        return True

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with self._reported():
            return path.is_file()

    def list(self, prefix: str) -> list[str]:
        check_prefix(prefix)
        folder = self._root / prefix.rpartition("/")[0]
        with self._reported():
            found = (path.relative_to(self._root).as_posix() for path in _files_below(folder))
            return sorted(key for key in found if key.startswith(prefix))

    def stats(self, prefix: str) -> dict[str, Stat]:
        found: dict[str, Stat] = {}
        for key in self.list(prefix):
            with self._reported(), suppress(FileNotFoundError):  # deleted since it was listed
                told = self._path(key).stat()
                found[key] = Stat(datetime.fromtimestamp(told.st_mtime, UTC), told.st_size)
        return found

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._reported():
            try:
                path.unlink(missing_ok=True)
            except (NotADirectoryError, IsADirectoryError):
                return
            if path.parent.is_dir():
                self._sync(path.parent)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._root / key

    @contextmanager
    def _reported(self) -> Generator[None]:
        try:
            if self._root.exists() and not self._root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is a file")
            yield
        except OSError as cause:
            raise StoreUnavailable(
                f"the object store's folder {self._root} cannot be used:"
                f" {cause.strerror or type(cause).__name__}. Check that it is a folder of a local"
                " disk with free space that this user may use, or set object_store.url.",
                store=str(self._root),
            ) from cause

    def _taken(self, path: Path, key: str) -> bool:
        """False, as `create` says of a key that exists; a folder of other objects is none."""
        if path.is_dir():
            raise InvalidInput(
                f"object key {key!r} is the folder of other objects; choose another name.", key=key
            )
        self._sync(path.parent)  # whoever wrote it may not have come so far yet
        return False

    def _make_room(self, path: Path, key: str) -> None:
        try:
            self._make_folder(path.parent)
        except (FileExistsError, NotADirectoryError) as cause:
            raise InvalidInput(
                f"object key {key!r} lies below another object; choose another name.", key=key
            ) from cause

    def _make_folder(self, folder: Path) -> None:
        """Create the folder; every new name is synced in the folder that holds it."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self._sync(folder.parent)

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())

    def _sweep(self, before: float) -> None:
        """Once: delete what killed writers have left, as old as that by the disk's own clock."""
        if self._swept:
            return
        self._swept = True
        for path in (self._root / PARTIAL).iterdir():
            with suppress(OSError):  # another has deleted it, or owns it
                if path.stat().st_mtime < before:
                    path.unlink()

    def _sync(self, folder: Path) -> None:
        if not self._durable:
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file below the folder, dot names left out; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.is_dir():
            yield from _files_below(Path(entry.path))
        else:
            yield Path(entry.path)
