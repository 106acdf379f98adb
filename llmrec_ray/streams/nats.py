"""NATS JetStream behind the port: a durable pull consumer of one stream.

A connection that fails is given up, and the next call makes a new one: there the consumer is set
back to what is acked, so that what was fetched before comes again first, and the order holds.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from nats.errors import Error

from llmrec_ray.errors import StreamUnavailable
from llmrec_ray.settings import StreamAccess
from llmrec_ray.streams.nats_link import Link, connect, end
from llmrec_ray.streams.port import Message
from llmrec_ray.streams.subscription import Subscription, Waits

REASON_CHARS = 500
HEADERS_BYTES = REASON_CHARS + 2_000


class NatsStream:
    """The port on JetStream; use it as a context manager, from one event loop."""

    def __init__(self, wanted: Subscription, access: StreamAccess, waits: Waits) -> None:
        self._wanted = wanted
        self._access = access
        self._waits = waits
        self._link: Link | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Connect, so that what is wrong with the settings is said at once."""
        async with self._working():
            pass
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def fetch(self, most: int, wait_s: float) -> list[Message]:
        async with self._working() as link:
            try:
                found = await link.pull.fetch(most, timeout=wait_s)
            except TimeoutError:  # the library's own is one too
                return []
        return [Message(one.subject, one.data, _place(one.reply), one.reply) for one in found]

    async def ack(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        async with self._working() as link:
            for one in messages[:-1]:
                await link.client.publish(one.receipt, b"+ACK")
            # The server takes a connection's acks in turn: its word on the last is one on all.
            await link.client.request(messages[-1].receipt, b"+ACK", self._waits.timeout_s)

    async def release(self, messages: Sequence[Message]) -> None:
        async with self._working() as link:
            for one in messages:
                await link.client.publish(one.receipt, b"-NAK")
            await link.client.flush(max(1, int(self._waits.timeout_s)))

    async def bury(self, message: Message, reason: str) -> None:
        async with self._working() as link:
            headers = {
                "Nats-Msg-Id": f"{self._wanted.stream}-{message.place}",  # a second copy is dropped
                "Llmrec-Reason": _ascii(reason),
                "Llmrec-Subject": message.subject,
                "Llmrec-Place": str(message.place),
            }
            body = message.body[: max(0, link.client.max_payload - HEADERS_BYTES)]
            if len(body) < len(message.body):
                headers["Llmrec-Cut"] = f"{len(message.body)} bytes"
            await link.jetstream.publish(
                self._wanted.dead_letters, body, timeout=self._waits.timeout_s, headers=headers
            )

    async def lag(self) -> int:
        async with self._working() as link:
            info = await link.jetstream.consumer_info(
                self._wanted.stream, self._wanted.consumer, timeout=self._waits.timeout_s
            )
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await end(link.client)

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[Link]:
        """The connection, a new one where there is none; an error ends it, and is ours outside."""
        link: Link | None = None
        try:
            async with self._connecting:  # calls overlap, and one connection serves them all
                if self._link is None or self._link.client.is_closed:
                    self._link = await connect(self._wanted, self._access, self._waits)
                link = self._link
            yield link
        except (Error, OSError, TimeoutError) as cause:
            await self.close()
            if link is not None:
                await end(link.client)
            raise StreamUnavailable(
                f"the message broker {self._wanted.url} cannot be used"
                f" ({str(cause) or type(cause).__name__}). Check that it runs, its disk, and the"
                f" limits of the streams."
            ) from cause


def _place(receipt: str) -> int:
    """The message's number in its stream, as the subject of its ack has it (ADR-15 of NATS).

    `$JS.ACK.stream.consumer.delivered.NUMBER.…`, or with domain and account before the stream.
    """
    parts = receipt.split(".")
    return int(parts[5] if len(parts) == 9 else parts[7])


def _ascii(text: str) -> str:
    """One line that a header may hold: clients differ in how they read anything else."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()[:REASON_CHARS]
