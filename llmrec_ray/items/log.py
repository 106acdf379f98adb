"""The item log as a port: changes of items in, made durable in one order; what changed since, out.

Every change gets the next number of one sequence, and every item counts its versions. The log keeps
the newest state of each item alone: a reader that has read all numbers up to n has, of every item,
the state of n or a newer one.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from llmrec_ray.errors import Corrupt
from llmrec_ray.types import Item

Outcome = Literal["stored", "deleted", "unchanged"]

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """A change to store: an item with its text vector (float32 bytes), or no item, a deletion.

    `encoder` is the hash of what made the vector; with `expected` the change is stored only where
    the item has that version, 0 for one that the log does not have.
    """

    item_id: str
    item: Item | None
    vector: bytes = b""
    encoder: str = ""
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class ItemChange:
    """The newest state of an item in the log; no item: it was deleted.

    What is stored and not `readable` has no item either: it is in no answer until it is put again.
    """

    seq: int
    item_id: str
    version: int
    item: Item | None
    vector: bytes = b""
    encoder: str = ""
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one change; `seq` is where readers of the log find it."""

    item_id: str
    version: int
    seq: int
    outcome: Outcome


class ItemLog(Protocol):
    """Durable live items; every call may raise `EventStoreUnavailable`."""

    def write(self, changes: Sequence[ItemWrite], above: int = 0) -> list[Written]:
        """Store a batch atomically, under numbers above `above` and all that were given out.

        What the log says already is `unchanged`, and keeps its number and version. Raises
        `VersionConflict` where an item has another version than the one expected, and
        `InvalidInput` where an id occurs twice; then nothing is stored.
        """
        ...

    def since(self, seq: int, limit: int = PAGE) -> list[ItemChange]:
        """The changes with numbers above `seq`, in their order; fewer than `limit`: no more.

        Numbers become visible in their order: no reader passes by one that is committed later.
        """
        ...

    def current(self, item_ids: Collection[str]) -> dict[str, ItemChange]:
        """The newest states of those among the items that the log has."""
        ...


def read_since(
    log: ItemLog, seq: int, keep: Callable[[str], bool] = lambda _: True
) -> tuple[dict[str, ItemChange], int]:
    """The newest change after `seq` of every item that is to be kept, and the position reached.

    Reads to the end before it returns: an item that is changed between two pages moves to the end,
    so what was read up to a page's last number is complete only then.
    """
    found: dict[str, ItemChange] = {}
    while True:
        page = log.since(seq)
        found |= {change.item_id: change for change in page if keep(change.item_id)}
        if not page:
            return found, seq
        seq = page[-1].seq
        if len(page) < PAGE:
            return found, seq


def read_whole(log: ItemLog, seq: int) -> tuple[dict[str, ItemChange], int]:
    """As `read_since`, for what is to last: `Corrupt` where an item cannot be read."""
    changes, position = read_since(log, seq)
    if unreadable := sorted(one for one, change in changes.items() if not change.readable):
        raise Corrupt(
            f"what is stored of {len(unreadable)} live items cannot be read, {unreadable[0]!r} for"
            " one: something else than this release wrote it. Put them again, or delete them.",
            item_id=unreadable[0],
        )
    return changes, position
