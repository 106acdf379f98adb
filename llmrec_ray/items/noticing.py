"""An item log in; the same log out, which knows what of it was read and could not be understood.

A log line names each such item, once until it is put again.
"""

import logging
from collections.abc import Collection, Sequence

from llmrec_ray.items.log import PAGE, ItemChange, ItemLog, ItemWrite, Written

_log = logging.getLogger(__name__)


class NoticingLog:
    """For one reader at a time, as a shard is."""

    def __init__(self, log: ItemLog) -> None:
        self._inner = log
        self.unreadable: frozenset[str] = frozenset()

    def write(self, changes: Sequence[ItemWrite], above: int = 0) -> list[Written]:
        return self._inner.write(changes, above)

    def since(self, seq: int, limit: int = PAGE) -> list[ItemChange]:
        page = self._inner.since(seq, limit)
        bad = {change.item_id for change in page if not change.readable}
        for item_id in sorted(bad - self.unreadable):
            _log.warning("live_item_unreadable", extra={"item": item_id})
        if bad or self.unreadable:
            self.unreadable = self.unreadable.difference(one.item_id for one in page) | bad
        return page

    def current(self, item_ids: Collection[str]) -> dict[str, ItemChange]:
        return self._inner.current(item_ids)
