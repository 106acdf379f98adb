"""Leases: who works on a store now, as objects that run out, so that nothing needed is deleted.

A writer (a publish, an activation) opens a lease, and then reads those of collections, which list
what they are about to delete; it takes nothing of that. A collection opens its lease, and then
reads those of writers; where there is one, it deletes nothing. Each opens its own before it reads,
so of two that meet at least one sees the other, and neither waits.
"""

import time
import uuid
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from llmrec_ray.errors import Conflict, Corrupt, LLMRecError, NotFound, StoreUnavailable
from llmrec_ray.generation.manifest import Record
from llmrec_ray.ports import ObjectStore, Stat

LEASES = "leases"
LASTS = timedelta(minutes=15)
"""How long a lease counts after its last renewal: longer than any request may be on its way."""

Kind = Literal["writer", "collection"]
Clock = Callable[[], float]


class LeaseRecord(Record):
    """What a lease says: the keys that its holder is about to delete, none for a writer."""

    doomed: tuple[str, ...] = ()


@dataclass(slots=True)
class Lease:
    """One open lease: `at` is when it was opened, by the clock of the store."""

    key: str
    at: datetime
    doomed: frozenset[str]
    clock: Clock
    renewed: float

    def require(self, key: str) -> str:
        """The key, unless a collection is about to delete it: then `Conflict`."""
        if key in self.doomed:
            raise Conflict(
                f"`llmrec generations gc` is deleting {key}, or did so just now, and it is needed"
                f" here. Try again in {LASTS.seconds // 60} minutes.",
                key=key,
            )
        return key

    @property
    def used(self) -> float:
        """How much of the lease is over; 1 or more: it no longer counts."""
        return (self.clock() - self.renewed) / LASTS.total_seconds()


@contextmanager
def writing(store: ObjectStore, clock: Clock = time.monotonic) -> Generator[Lease]:
    """A writer's lease for as long as the block runs; `renew` it where that may be long."""
    with _opened(store, "writer", (), clock) as (lease, others):
        lease.doomed = frozenset(
            key for other in _live(others, lease, "collection") for key in _doomed(store, other)
        )
        yield lease


@contextmanager
def collecting(
    store: ObjectStore, doomed: Collection[str], clock: Clock = time.monotonic
) -> Generator[Lease]:
    """A collection's lease; `Conflict` where a writer is at work.

    It stays until it runs out: a delete that was sent twice, since its reply was late, may come
    when all is done.
    """
    with _opened(store, "collection", doomed, clock) as (lease, others):
        if writers := _live(others, lease, "writer"):
            since = min(others[key].modified for key in writers).isoformat(timespec="seconds")
            raise Conflict(
                f"a publish or an activation is under way since {since}, or was cut short. Nothing"
                f" was deleted: try again when it is done, or in {LASTS.seconds // 60} minutes.",
                since=since,
            )
        yield lease


def renew(store: ObjectStore, lease: Lease) -> None:
    """Open the writer's lease anew where a third of it is over; `Conflict` where all of it is."""
    if lease.used < 1 / 3:
        return
    if lease.used >= 1:
        raise Conflict(
            f"this publish stood still for more than {LASTS.seconds // 60} minutes, so what it"
            " found stored may be gone. Publish again: what is stored is not sent again."
        )
    before, lease.key, started = lease.key, _key("writer"), lease.clock()
    _write(store, lease.key, ())
    lease.renewed = started
    store.delete(before)


def remove_expired(store: ObjectStore, now: datetime) -> None:
    """Delete the leases that no longer count."""
    for key, found in store.stats(f"{LEASES}/").items():
        if found.modified < now - 2 * LASTS:
            store.delete(key)


@contextmanager
def _opened(
    store: ObjectStore, kind: Kind, doomed: Collection[str], clock: Clock
) -> Generator[tuple[Lease, dict[str, Stat]]]:
    """A new lease and all there are. After `StoreUnavailable` it stays: a request may come late."""
    key, started = _key(kind), clock()
    _write(store, key, doomed)
    found = store.stats(f"{LEASES}/")
    if key not in found:
        raise StoreUnavailable(
            f"the object store does not list {key}, which was written just now. Use a store whose"
            " lists show every finished write.",
            key=key,
        )
    lease = Lease(key, found[key].modified, frozenset(), clock, started)
    try:
        yield lease, found
    except StoreUnavailable:
        raise
    except LLMRecError:
        _close(store, lease)
        raise
    if kind == "writer":
        _close(store, lease)


def _close(store: ObjectStore, lease: Lease) -> None:
    with suppress(StoreUnavailable):  # it runs out by itself
        store.delete(lease.key)


def _key(kind: Kind) -> str:
    return f"{LEASES}/{kind}-{uuid.uuid4().hex}.json"


def _write(store: ObjectStore, key: str, doomed: Collection[str]) -> None:
    record = LeaseRecord(doomed=tuple(doomed))
    store.create(key, record.model_dump_json().encode())


def _live(found: dict[str, Stat], mine: Lease, kind: Kind) -> list[str]:
    """The leases of a kind that still count, by the store's own clock."""
    since = mine.at - LASTS
    return [
        key
        for key, stat in found.items()
        if key.startswith(f"{LEASES}/{kind}-") and key != mine.key and stat.modified >= since
    ]


def _doomed(store: ObjectStore, key: str) -> tuple[str, ...]:
    try:
        return LeaseRecord.model_validate_json(store.get(key)).doomed
    except NotFound:  # that collection is done
        return ()
    except ValidationError as cause:
        raise Corrupt(
            f"{key} cannot be read. Where no `llmrec generations gc` runs, delete that object.",
            key=key,
        ) from cause
