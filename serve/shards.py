"""One replica of one shard: activations in, their generations loaded; questions in, answers out."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmrec_ray.errors import LLMRecError, NotReady
from llmrec_ray.generation.follow import Follower
from llmrec_ray.ports import ObjectStore
from llmrec_ray.shard import Shard
from llmrec_ray.types import IndexKind
from serve.calls.questions import Question, answer
from serve.observe.meters import meters
from serve.observe.metrics import SHARD_ITEMS, SHARD_QUESTIONS, SHARD_SECONDS

log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class ShardState:
    """What a replica holds, and what keeps it from holding more."""

    held: tuple[str, ...]
    trouble: str | None = None


class ShardReplica:
    """The deployment `shard-N`; routed to once what is current, if anything is, is loaded."""

    async def __init__(
        self,
        open_store: Callable[[], ObjectStore],
        shard: int,
        shards: int,
        poll_s: float,
        *,
        index: IndexKind,
        originals: Path | None,
    ) -> None:
        store = open_store()
        self._shard = Shard(store, shard, shards, index=index, originals=originals)
        self._follower = Follower(store)
        self._poll_s = poll_s
        self._meters = meters()
        self._measured: frozenset[str] = frozenset()
        self._trouble: str | None = None
        await self._look()
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def answer(self, questions: Sequence[Question[object]]) -> list[object]:
        """The answers in order, errors as values."""
        if not self._shard.held:
            raise NotReady("this shard holds no generation yet.")
        since = time.perf_counter()
        answered = await asyncio.to_thread(answer, self._shard, questions)
        self._meters.observe(SHARD_QUESTIONS, len(questions))
        self._meters.observe(SHARD_SECONDS, time.perf_counter() - since)
        return answered

    async def state(self) -> ShardState:
        return ShardState(self._shard.held, self._trouble)

    async def check_health(self) -> None:
        """Fails when generations are no longer followed, or the thread pool does not run work."""
        if self._following.done():
            raise RuntimeError("the shard no longer follows the activations")
        async with asyncio.timeout(10):
            await asyncio.to_thread(lambda: self._shard.held)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await self._look()

    async def _look(self) -> None:
        """Load what is current now; on failure keep what is held, say why, and look again later."""
        try:
            manifest = await asyncio.to_thread(self._follower.poll)
            if manifest is not None:
                await asyncio.to_thread(self._shard.prepare, manifest)
            self._measure()
            self._trouble = None
        except LLMRecError as error:
            self._trouble = str(error)
            log.warning("generation_not_loaded code=%s", error.code)
        except Exception as error:
            self._trouble = f"loading failed ({type(error).__name__}); its log has the reason."
            log.exception("generation_not_loaded")

    def _measure(self) -> None:
        """A gauge keeps its last value: what is no longer held is set to 0."""
        held = self._shard.sizes
        for generation in self._measured - held.keys():
            self._meters.set(SHARD_ITEMS, 0, generation=generation)
        for generation, items in held.items():
            self._meters.set(SHARD_ITEMS, items, generation=generation)
        self._measured = frozenset(held)
