"""A way to open the item log in, the log out: opened when it is first asked, and again on failure.

A shard must start, and answer from what is published, while the database is away.
"""

from collections.abc import Callable, Collection, Sequence
from threading import Lock

from llmrec_ray.items.log import PAGE, ItemChange, ItemLog, ItemWrite, Written


class LateItemLog:
    """The item log behind `open_log`, which may raise what the log's calls may."""

    def __init__(self, open_log: Callable[[], ItemLog]) -> None:
        self._open = open_log
        self._log: ItemLog | None = None
        self._opening = Lock()

    def write(self, changes: Sequence[ItemWrite], above: int = 0) -> list[Written]:
        return self._opened().write(changes, above)

    def since(self, seq: int, limit: int = PAGE) -> list[ItemChange]:
        return self._opened().since(seq, limit)

    def current(self, item_ids: Collection[str]) -> dict[str, ItemChange]:
        return self._opened().current(item_ids)

    def _opened(self) -> ItemLog:
        with self._opening:
            if self._log is None:
                self._log = self._open()
            return self._log
