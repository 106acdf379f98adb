"""The ingress replica's view of the others: which generation every shard holds, and what is ready.

Looks every `poll_s` seconds. A generation that every shard holds, and that the embedder's model
fits, is handed to `Pinned`, from which requests take theirs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from llmrec_ray.errors import LLMRecError, NotReady, Unavailable
from llmrec_ray.generation.activation import require_encoder
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.ports import EncoderInfo
from serve.shards import ShardState

log = logging.getLogger("ray.serve")

PROBE_S = 2.0
SETTLE_S = 0.1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Component:
    """One part of the service: what it has, and what it waits for (None: nothing)."""

    name: str
    has: str | None = None
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """How many replicas of a deployment run, and what those said that answered in time."""

    running: int
    answers: Sequence[T]


Probe = Callable[[], Awaitable[Told[T]]]


@dataclass(frozen=True, slots=True)
class Probes:
    """How the others are asked; each may raise or never return."""

    shards: Sequence[Probe[ShardState]]
    encoder: Probe[EncoderInfo]
    generator: Probe[str]
    events: Callable[[], None]


class Watch:
    """Runs in the background of an ingress replica; its answers are read from memory."""

    def __init__(self, follower: Follower, pinned: Pinned, probes: Probes, poll_s: float) -> None:
        self._follower = follower
        self._pinned = pinned
        self._probes = probes
        self._poll_s = poll_s
        self._wanted: Manifest | None = None
        self._encoder: EncoderInfo | None = None
        self._shards: list[Sequence[ShardState]] = [()] * len(probes.shards)
        self._others: dict[str, Component] = {}
        self._absent: set[str] = set()
        self._store_trouble: str | None = None
        self._mismatch: str | None = None

    async def settle(self, within_s: float) -> None:
        """Look until requests can be answered, so that none is sent here before.

        Returns early where waiting is no help (nothing is published, the store is away, the model
        does not fit), and after `within_s` in any case: `/readyz` then says what is awaited.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._try_to_look()
                while self._awaits_others():
                    await asyncio.sleep(SETTLE_S)
                    await self._try_to_look()

    async def run(self) -> None:
        """Look until cancelled; no single failure ends it."""
        while True:
            await self._try_to_look()
            await asyncio.sleep(self._poll_s)

    async def _try_to_look(self) -> None:
        try:
            await self.look()
        except Exception:
            log.exception("watch_failed")

    async def look(self) -> None:
        """Ask everybody once, then take up a generation that everybody holds."""
        shards = [self._look_at_shard(shard) for shard in range(len(self._shards))]
        await asyncio.gather(
            self._look_for_generation(),
            self._look_at("embedder", self._encoder_name),
            self._look_at("generator", self._generator_name),
            self._look_at("events", self._check_events),
            *shards,
        )
        self._take_up()

    @property
    def encoder(self) -> EncoderInfo | None:
        """The embedding model of the pool; None until the pool has answered once."""
        return self._encoder

    def replicas(self, shard: int) -> int:
        """How many replicas of a shard answered last."""
        return len(self._shards[shard])

    def runs(self, name: str) -> bool:
        """Whether a deployment had a replica when it was last looked at: waiting may help then."""
        return name not in self._absent

    def serving(self) -> str | None:
        """The generation that requests are answered from."""
        try:
            return self._pinned.current().generation
        except NotReady:
            return None

    def components(self) -> list[Component]:
        """Every part, with what it has and what it waits for."""
        shards = [self._shard(shard) for shard in range(len(self._shards))]
        return [self._generation(), *shards, *self._others.values()]

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    async def _look_for_generation(self) -> None:
        try:
            self._wanted = await asyncio.to_thread(self._follower.poll)
            self._store_trouble = None
        except LLMRecError as error:
            self._store_trouble = str(error)

    async def _look_at_shard(self, shard: int) -> None:
        try:
            self._shards[shard] = await self._ask(f"shard-{shard}", self._probes.shards[shard])
        except Exception as error:  # noqa: BLE001 whatever is wrong, it is not there
            log.info("shard_state_unknown shard=%s error=%s", shard, type(error).__name__)
            self._shards[shard] = ()

    async def _ask(self, name: str, probe: Probe[T]) -> Sequence[T]:
        """What the replicas of a deployment say; notes when there is none."""
        async with asyncio.timeout(PROBE_S):
            told = await probe()
        if told.running:
            self._absent.discard(name)
        else:
            self._absent.add(name)
        return told.answers

    async def _encoder_name(self) -> str:
        self._encoder = _first(await self._ask("embedder", self._probes.encoder))
        return self._encoder.name

    async def _generator_name(self) -> str:
        return _first(await self._ask("generator", self._probes.generator))

    async def _check_events(self) -> str:
        async with asyncio.timeout(PROBE_S):
            await asyncio.to_thread(self._probes.events)
        return "the event store"

    async def _look_at(self, name: str, probe: Callable[[], Awaitable[str]]) -> None:
        try:
            self._others[name] = Component(name, has=await probe())
        except LLMRecError as error:
            self._others[name] = Component(name, waits_for=str(error))
        except Exception as error:  # noqa: BLE001
            log.info("component_unknown name=%s error=%s", name, type(error).__name__)
            self._others[name] = Component(name, waits_for="a replica that answers")

    # ── deciding ─────────────────────────────────────────────────────────────────────────────────

    def _take_up(self) -> None:
        if self._wanted is None or self._encoder is None:
            return
        try:
            require_encoder(self._wanted, self._encoder)
            self._mismatch = None
        except LLMRecError as error:
            self._mismatch = str(error)
            return
        self._pinned.offer(self._wanted, [self._held(shard) for shard in range(len(self._shards))])

    def _awaits_others(self) -> bool:
        """Whether all that is missing are shards and embedders, which may be starting."""
        return self._wanted is not None and self._mismatch is None and self.serving() is None

    def _held(self, shard: int) -> frozenset[str] | None:
        """What every replica of a shard holds; None where none answers."""
        held = [frozenset(state.held) for state in self._shards[shard]]
        return frozenset.intersection(*held) if held else None

    def _generation(self) -> Component:
        found = Component("generation", has=self.serving())
        if self._mismatch or self._store_trouble:
            return replace(found, waits_for=self._mismatch or self._store_trouble)
        if self._wanted is None:
            return replace(
                found, waits_for="a published generation: ingest a catalogue and activate it"
            )
        if self._encoder is None:
            return replace(found, waits_for="the embedder, to compare its model")
        if found.has != self._wanted.generation:
            return replace(found, waits_for=f"{self._wanted.generation} on every shard")
        return found

    def _shard(self, shard: int) -> Component:
        name = f"shard-{shard}"
        states = self._shards[shard]
        if not states:
            return Component(name, waits_for="a replica that answers")
        held = self._held(shard) or frozenset()
        trouble = next((state.trouble for state in states if state.trouble), None)
        if trouble is None and self._wanted and self._wanted.generation not in held:
            trouble = f"{self._wanted.generation} to be loaded"
        replicas = f"{len(states)} replica{'s' if len(states) > 1 else ''}"
        has = f"{', '.join(sorted(held))} on {replicas}" if held else None
        return Component(name, has=has, waits_for=trouble)


def _first(answers: Sequence[T]) -> T:
    if not answers:
        raise Unavailable("a replica that answers")
    return answers[0]
