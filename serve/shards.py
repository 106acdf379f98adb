"""One replica of one shard: activations in, their generations loaded; questions in, answers out."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmrec_ray.errors import LLMRecError, NotReady
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.items.log import ItemLog
from llmrec_ray.items.noticing import NoticingLog
from llmrec_ray.ports import ObjectStore
from llmrec_ray.search.delta import Delta
from llmrec_ray.shard import Shard
from llmrec_ray.types import IndexKind
from serve.calls.questions import Question, answer_now
from serve.observe.meters import meters
from serve.observe.metrics import (
    SHARD_DELTA,
    SHARD_DELTA_SEQ,
    SHARD_ITEMS,
    SHARD_QUESTIONS,
    SHARD_SECONDS,
    SHARD_UNREADABLE,
)

log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Place:
    """Which shard of how many, how often it looks for what is new, and how it holds vectors."""

    shard: int
    shards: int
    poll_s: float
    items_poll_s: float
    index: IndexKind = "auto"
    originals: Path | None = None


@dataclass(frozen=True, slots=True)
class ShardState:
    """What a replica holds, and what keeps it from holding more."""

    held: tuple[str, ...]
    trouble: str | None = None


class ShardReplica:
    """The deployment `shard-N`; routed to once what is current, if anything is, is loaded."""

    _following: Sequence[asyncio.Task[None]] = ()

    async def __init__(
        self,
        open_store: Callable[[], ObjectStore],
        open_log: Callable[[], ItemLog],
        place: Place,
    ) -> None:
        store = open_store()
        self._items = NoticingLog(open_log())
        self._shard = Shard(
            store,
            place.shard,
            place.shards,
            self._items,
            index=place.index,
            originals=place.originals,
        )
        self._follower = Follower(store)
        self._place = place
        self._meters = meters()
        self._measured: frozenset[str] = frozenset()
        self._trouble: str | None = None
        self._live_trouble: str | None = None
        await self._look()
        loop = asyncio.get_running_loop()
        self._following = [loop.create_task(self._follow()), loop.create_task(self._tail())]

    async def answer(self, questions: Sequence[Question[object]]) -> list[object]:
        """The answers in order, errors as values."""
        if not self._shard.held:
            raise NotReady("this shard holds no generation yet.")
        since = time.perf_counter()
        answered = await asyncio.to_thread(answer_now, self._shard, questions)
        self._meters.observe(SHARD_QUESTIONS, len(questions))
        self._meters.observe(SHARD_SECONDS, time.perf_counter() - since)
        return answered

    async def state(self) -> ShardState:
        return ShardState(self._shard.held, self._trouble or self._live_trouble)

    async def check_health(self) -> None:
        """Fails when generations are no longer followed, or the thread pool does not run work."""
        if any(task.done() for task in self._following):
            raise RuntimeError("the shard no longer follows the activations or the live items")
        async with asyncio.timeout(10):
            await asyncio.to_thread(lambda: self._shard.held)

    def __del__(self) -> None:
        """Serve calls this on the event loop when the replica stops, and ends its threads next."""
        for task in self._following:
            task.cancel()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._place.poll_s)
            await self._look()

    async def _tail(self) -> None:
        while True:
            await asyncio.sleep(self._place.items_poll_s)
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Apply what was put and deleted; on failure keep what is applied, and say why."""
        try:
            await asyncio.to_thread(self._shard.catch_up)
            self._live_trouble = self._unreadable() or _strange(self._shard.deltas.values())
            self._measure()
        except LLMRecError as error:
            self._tell(f"live items are not followed: {error}")
        except Exception as error:
            log.exception("live_items_not_followed")
            self._tell(f"following live items failed ({type(error).__name__}); see its log.")

    def _unreadable(self) -> str | None:
        """What is to do about live items that cannot be read."""
        if not (hidden := self._items.unreadable):
            return None
        return (
            f"what is stored of {len(hidden)} live items cannot be read, {min(hidden)!r} for one,"
            " and they cannot be found. Put them again, or delete them."
        )

    def _tell(self, trouble: str) -> None:
        if self._live_trouble is None:
            log.warning("live_items_not_followed")
        self._live_trouble = trouble

    async def _look(self) -> None:
        """Load what is current now; on failure keep what is held, say why, and look again later."""
        try:
            manifest = await asyncio.to_thread(self._follower.poll)
            self._trouble = await self._load(manifest) if manifest else None
            self._measure()
        except LLMRecError as error:
            self._trouble = str(error)
            log.warning("generation_not_loaded code=%s", error.code)
        except Exception as error:
            self._trouble = f"loading failed ({type(error).__name__}); its log has the reason."
            log.exception("generation_not_loaded")

    async def _load(self, manifest: Manifest) -> str | None:
        """What a generation waits for before it is loaded; None where it is."""
        if (asked := self._shard.in_the_way(manifest.generation)) is not None:
            return f"{manifest.generation} to be loaded, once {asked} is no longer asked for"
        await asyncio.to_thread(self._shard.prepare, manifest)
        return None

    def _measure(self) -> None:
        """A gauge keeps its last value: what is no longer held is set to 0."""
        held = self._shard.sizes
        for generation in self._measured - held.keys():
            for gauge in (SHARD_ITEMS, SHARD_DELTA, SHARD_DELTA_SEQ):
                self._meters.set(gauge, 0, generation=generation)
        for generation, items in held.items():
            self._meters.set(SHARD_ITEMS, items, generation=generation)
        self._meters.set(SHARD_UNREADABLE, len(self._items.unreadable))
        for generation, delta in self._shard.deltas.items():
            self._meters.set(SHARD_DELTA, len(delta.changes), generation=generation)
            self._meters.set(SHARD_DELTA_SEQ, delta.position, generation=generation)
        self._measured = frozenset(held)


def _strange(deltas: Iterable[Delta]) -> str | None:
    """What is to do about live items whose vectors cannot be compared with the generation's."""
    if not (hidden := {item_id for delta in deltas for item_id in delta.strange}):
        return None
    return (
        f"{len(hidden)} live items were embedded by another model, {min(hidden)!r} for one, and"
        " cannot be found. Run `llmrec compact`, which embeds them anew."
    )
