"""A broker in memory that keeps the port's promises: what consumers are tested against."""

import asyncio
from collections.abc import Sequence

from llmrec_ray.errors import StreamUnavailable
from llmrec_ray.streams.port import Message


class MemoryBroker:
    """One stream and its dead letters; `away` makes every call fail until it is taken back."""

    def __init__(self, *subjects: str) -> None:
        self.subjects = subjects
        self.messages: list[tuple[str, bytes]] = []
        self.acked: set[int] = set()
        self.out: set[int] = set()
        self.dead: dict[int, tuple[bytes, str]] = {}
        self.away = False
        self.changed = asyncio.Event()

    def publish(self, subject: str, *bodies: bytes) -> None:
        self.messages += [(subject, body) for body in bodies]
        self.changed.set()


class MemoryStream:
    """The port on a `MemoryBroker`; a new one begins after what is acked, as after a crash."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        broker.out.clear()

    async def fetch(self, most: int, wait_s: float) -> list[Message]:
        if not (found := self._next(most)):
            self._broker.changed.clear()
            try:
                await asyncio.wait_for(self._broker.changed.wait(), wait_s)
            except TimeoutError:
                return []
            found = self._next(most)
        self._broker.out.update(one.place for one in found)
        return found

    async def ack(self, messages: Sequence[Message]) -> None:
        self._check()
        self._broker.acked.update(one.place for one in messages)

    async def release(self, messages: Sequence[Message]) -> None:
        self._check()
        self._broker.out.difference_update(one.place for one in messages)

    async def bury(self, message: Message, reason: str) -> None:
        self._check()
        self._broker.dead.setdefault(message.place, (message.body, reason))

    async def lag(self) -> int:
        self._check()
        return len([one for one in self._all() if one.place not in self._broker.acked])

    async def close(self) -> None:
        """Nothing is held."""

    def _next(self, most: int) -> list[Message]:
        self._check()
        taken = self._broker.acked | self._broker.out
        return [one for one in self._all() if one.place not in taken][:most]

    def _all(self) -> list[Message]:
        return [
            Message(subject, body, place, receipt=str(place))
            for place, (subject, body) in enumerate(self._broker.messages, 1)
            if subject in self._broker.subjects
        ]

    def _check(self) -> None:
        if self._broker.away:
            self._broker.out.clear()
            raise StreamUnavailable("the broker in memory is away.")
