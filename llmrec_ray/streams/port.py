"""What the consumer asks of a message broker, as a Protocol; its suite is in tests/contract."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message: where it was published, its place in the stream, what an ack names it by."""

    subject: str
    body: bytes
    place: int
    receipt: str


class Stream(Protocol):
    """A durable subscription; every call may raise `StreamUnavailable`, or `InvalidSettings`.

    After such an error everything fetched and not acked comes again, before what is newer.
    """

    async def fetch(self, most: int, wait_s: float) -> list[Message]:
        """The next messages in the stream's order; none where none came in time."""
        ...

    async def ack(self, messages: Sequence[Message]) -> None:
        """They never come again; told the broker, and confirmed by it, when this returns."""
        ...

    async def release(self, messages: Sequence[Message]) -> None:
        """They come again at once, to whoever fetches next."""
        ...

    async def bury(self, message: Message, reason: str) -> None:
        """Store a copy among the dead letters, once; the message itself still needs its ack."""
        ...

    async def lag(self) -> int:
        """How many messages of the subscription are not acked yet."""
        ...

    async def close(self) -> None: ...
