"""A store in which one change goes wrong in a chosen way; and a folder of objects made older."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.ports import ObjectStore, Stat

How = Literal["crash before", "crash after", "refused", "lost", "late", "repeated"]
CRASHES: tuple[How, ...] = ("crash before", "crash after")
REPLIES: tuple[How, ...] = ("refused", "lost", "late", "repeated")


class Crashed(BaseException):
    """The process died: nothing that it would do on an error is done."""


@dataclass
class FaultAt:
    """A real store of which the change number `at` (create or delete, from 0) goes wrong.

    It crashes before or after it; or its reply says that the store is down, and it was not done
    (`refused`), was done (`lost`) or will be (`late`, when `arrive` is called); or it is done well,
    and once more when `arrive` is called (`repeated`).
    """

    inner: ObjectStore
    at: int
    how: How
    changes: int = 0
    dead: bool = False
    created: list[str] = field(default_factory=list[str])
    deleted: list[str] = field(default_factory=list[str])
    on_the_way: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    @property
    def reached(self) -> bool:
        """Whether there was a change of that number."""
        return self.changes > self.at

    def arrive(self) -> None:
        """What is still on the way reaches the store."""
        for change in self.on_the_way:
            change()
        self.on_the_way.clear()

    def create(self, key: str, data: bytes) -> bool:
        def change() -> bool:
            made = self.inner.create(key, data)
            self.created += [key] * made
            return made

        return self._changed(change)

    def delete(self, key: str) -> None:
        def change() -> bool:
            self.inner.delete(key)
            self.deleted.append(key)
            return True

        self._changed(change)

    def get(self, key: str) -> bytes:
        self._alive()
        return self.inner.get(key)

    def exists(self, key: str) -> bool:
        self._alive()
        return self.inner.exists(key)

    def list(self, prefix: str) -> list[str]:
        self._alive()
        return self.inner.list(prefix)

    def stats(self, prefix: str) -> dict[str, Stat]:
        self._alive()
        return self.inner.stats(prefix)

    def _changed(self, change: Callable[[], bool]) -> bool:
        self._alive()
        number, self.changes = self.changes, self.changes + 1
        if number != self.at:
            return change()
        if self.how == "crash before":
            self._die()
        done = self.how not in {"refused", "late"} and change()
        if self.how == "crash after":
            self._die()
        if self.how in {"late", "repeated"}:
            self.on_the_way.append(change)
        if self.how == "repeated":
            return done
        raise StoreUnavailable("the reply was made to fail")

    def _alive(self) -> None:
        if self.dead:
            raise Crashed

    def _die(self) -> None:
        self.dead = True
        raise Crashed


class Older:
    """A store whose present objects look older by a time: for stores whose clock is their own."""

    def __init__(self, inner: ObjectStore, by: timedelta) -> None:
        self._inner = inner
        self._by = by
        self._aged = inner.stats("")
        self.get, self.exists, self.list = inner.get, inner.exists, inner.list
        self.create, self.delete = inner.create, inner.delete

    def stats(self, prefix: str) -> dict[str, Stat]:
        return {
            key: replace(stat, modified=stat.modified - self._by)
            if stat == self._aged.get(key)
            else stat
            for key, stat in self._inner.stats(prefix).items()
        }


def pass_time(folder: Path, by: timedelta, prefix: str = "") -> None:
    """Make every object of a folder store below `prefix` older, as if that time had passed."""
    for path in (folder / prefix).rglob("*"):
        if path.is_file():
            told = path.stat()
            os.utime(path, (told.st_atime, told.st_mtime - by.total_seconds()))
