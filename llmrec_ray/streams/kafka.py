"""Kafka behind the port: every partition of the topics, and offsets kept under a group's name.

Kafka remembers one offset a partition, not an ack a message: what is kept there is the first offset
that has no ack. A message's place is its offset, counted from 1, and holds within its partition.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka has types in part)

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from llmrec_ray.errors import StreamUnavailable
from llmrec_ray.settings import Sasl, StreamAccess
from llmrec_ray.streams.kafka_link import LARGEST_BYTES, Link, connect, end, partitions_of
from llmrec_ray.streams.port import Message
from llmrec_ray.streams.subscription import Subscription, Waits

REASON_CHARS = 500
HEADERS_BYTES = REASON_CHARS * 4 + 4_000


class KafkaStream:
    """The port on Kafka; use it as a context manager, from one event loop."""

    def __init__(
        self, wanted: Subscription, access: StreamAccess, waits: Waits, sasl: Sasl
    ) -> None:
        self._wanted = wanted
        self._access = access
        self._waits = waits
        self._sasl: Sasl = sasl
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
        self._unacked: dict[TopicPartition, set[int]] = {}
        self._buried: set[str] = set()

    async def __aenter__(self) -> Self:
        """Connect, so that what is wrong with the settings is said at once."""
        async with self._working():
            pass
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def fetch(self, most: int, wait_s: float) -> list[Message]:
        async with self._working(wait_s) as link:
            found = await link.reader.getmany(timeout_ms=int(wait_s * 1_000), max_records=most)
        messages: list[Message] = []
        for partition, records in found.items():
            self._unacked.setdefault(partition, set()).update(one.offset for one in records)
            messages += [
                Message(
                    partition.topic,
                    one.value or b"",
                    one.offset + 1,
                    f"{partition.topic}/{partition.partition}/{one.offset}",
                )
                for one in records
            ]
        return messages

    async def ack(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        async with self._working() as link:
            reached: dict[TopicPartition, int] = {}
            for message in messages:
                partition, offset = _at(message)
                self._unacked.setdefault(partition, set()).discard(offset)
                reached[partition] = max(offset + 1, reached.get(partition, 0))
            for partition, behind in reached.items():
                reached[partition] = min(self._unacked[partition], default=behind)
            await link.reader.commit(reached)
        self._buried.difference_update(message.receipt for message in messages)

    async def release(self, messages: Sequence[Message]) -> None:
        async with self._working() as link:
            for partition, first in _firsts(messages).items():
                if first < await link.reader.position(partition):
                    link.reader.seek(partition, first)

    async def bury(self, message: Message, reason: str) -> None:
        if message.receipt in self._buried:
            return
        headers = {
            "Llmrec-Reason": " ".join(reason.split())[:REASON_CHARS],
            "Llmrec-Subject": message.subject,
            "Llmrec-Place": str(message.place),
        }
        body = message.body[: LARGEST_BYTES - HEADERS_BYTES]
        if len(body) < len(message.body):
            headers["Llmrec-Cut"] = f"{len(message.body)} bytes"
        async with self._working() as link:
            await link.writer.send_and_wait(
                self._wanted.dead_letters,
                body,
                key=message.receipt.encode(),  # a compacted topic keeps one copy
                headers=[(name, value.encode()) for name, value in headers.items()],
            )
        self._buried.add(message.receipt)

    async def lag(self) -> int:
        """Offsets between what is acked and the ends; finds partitions that were added, too."""
        async with self._working() as link:
            if partitions_of(link.reader, self._wanted) != link.partitions:
                raise _Changed
            ends = await link.reader.end_offsets(sorted(link.partitions))
            begins = await link.reader.beginning_offsets(sorted(link.partitions))
            behind = 0
            for partition, last in ends.items():
                acked = await link.reader.committed(partition)
                behind += max(0, last - max(acked or 0, begins[partition]))
        return behind

    async def close(self) -> None:
        link, self._link = self._link, None
        self._unacked.clear()
        if link is not None:
            await end(link)

    @asynccontextmanager
    async def _working(self, extra_s: float = 0) -> AsyncGenerator[Link]:
        """The connection, a new one where there is none; an error ends it, and is ours outside.

        A new one begins at what is acked. The client tries again by itself, and is not to for ever.
        """
        link: Link | None = None
        try:
            async with asyncio.timeout(2 * self._waits.timeout_s + extra_s):
                async with self._connecting:  # calls overlap, and one connection serves them all
                    if self._link is None:
                        self._link = await connect(
                            self._wanted, self._access, self._waits, self._sasl
                        )
                    link = self._link
                yield link
        except _Changed as cause:
            await self.close()
            raise StreamUnavailable(
                f"the partitions of {', '.join(self._wanted.subjects)} have changed; all of them"
                " are read from what is acked on."
            ) from cause
        except (KafkaError, OSError, TimeoutError) as cause:
            await self.close()
            raise StreamUnavailable(
                f"the message broker {self._wanted.url} cannot be used"
                f" ({str(cause) or type(cause).__name__}). Check that it runs, its disk, and the"
                " limits of the topics."
            ) from cause


class _Changed(Exception):
    """A topic has other partitions than those that are read."""


def _at(message: Message) -> tuple[TopicPartition, int]:
    topic, number, offset = message.receipt.rsplit("/", 2)
    return TopicPartition(topic, int(number)), int(offset)


def _firsts(messages: Sequence[Message]) -> dict[TopicPartition, int]:
    """The first offset of each partition among the messages."""
    found: dict[TopicPartition, int] = {}
    for message in messages:
        partition, offset = _at(message)
        found[partition] = min(offset, found.get(partition, offset))
    return found
