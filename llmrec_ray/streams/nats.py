"""NATS JetStream behind the port: a durable pull consumer of one stream, made where it is missing.

The stream and the one that takes dead letters are the operator's: how many replicas they have, and
how long they keep what, is not for a consumer to say. A connection that fails is given up, and the
next call makes a new one: there the consumer is set back to what is acked, so that what was fetched
before comes again first, and the order holds.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.errors import Error, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from llmrec_ray.errors import InvalidSettings, StreamUnavailable
from llmrec_ray.settings import StreamAccess
from llmrec_ray.streams.port import Message

RESETS_SINCE = (2, 14)
REASON_CHARS = 500
HEADERS_BYTES = REASON_CHARS + 2_000
NOT_ENABLED = {10039, 10076}
SAY = "See docs/operations.md."


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which stream, which of its subjects, under which durable name, and where poison goes."""

    url: str
    stream: str
    subjects: tuple[str, ...]
    consumer: str
    dead_letters: str


@dataclass(frozen=True, slots=True)
class Waits:
    """How long one call may take, how long a message may stay without its ack, how many may."""

    timeout_s: float
    ack_s: float
    unacked: int


@dataclass(frozen=True, slots=True)
class _Link:
    client: Client
    jetstream: JetStreamContext
    pull: JetStreamContext.PullSubscription


class NatsStream:
    """The port on JetStream; use it as a context manager, from one event loop."""

    def __init__(self, wanted: Subscription, access: StreamAccess, waits: Waits) -> None:
        self._wanted = wanted
        self._access = access
        self._waits = waits
        self._link: _Link | None = None
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
            except NatsTimeout:
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
            await _end(link.client)

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[_Link]:
        """The connection, a new one where there is none; an error ends it, and is ours outside."""
        link: _Link | None = None
        try:
            async with self._connecting:  # calls overlap, and one connection serves them all
                if self._link is None or self._link.client.is_closed:
                    self._link = await self._connected()
                link = self._link
            yield link
        except (Error, OSError, TimeoutError) as cause:
            await self.close()
            if link is not None:
                await _end(link.client)
            raise StreamUnavailable(
                f"the message broker {self._wanted.url} cannot be used"
                f" ({str(cause) or type(cause).__name__}). Check that it runs, its disk, and the"
                f" limits of the streams."
            ) from cause

    async def _connected(self) -> _Link:
        client = await self._client()
        try:
            jetstream = JetStreamContext(client, timeout=self._waits.timeout_s)
            await self._check(jetstream)
            pull = await self._subscribed(client, jetstream)
        except BaseException:
            await _end(client)
            raise
        return _Link(client, jetstream, pull)

    async def _client(self) -> Client:
        servers = self._wanted.url.split(",")
        if not all(map(_is_address, servers)):
            raise InvalidSettings(
                f"streams.url is no address of a NATS server: {self._wanted.url}. Give one such as"
                " nats://127.0.0.1:4222, or several with commas between them.",
                field="streams.url",
            )
        client, heard = Client(), list[str]()

        async def hear(error: Exception) -> None:
            heard.append(str(error) or type(error).__name__)

        seconds = max(1, int(self._waits.timeout_s))
        try:
            await client.connect(
                servers,
                name="llmrec consume",
                user=self._access.user,
                password=self._access.password,
                token=self._access.token,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=seconds,
                error_cb=hear,
            )
        except (Error, OSError, TimeoutError) as cause:
            await _end(client)
            raise self._unconnected(" ".join([*heard, str(cause)])) from cause
        return client

    def _unconnected(self, said: str) -> InvalidSettings | StreamUnavailable:
        if "authorization" in said.lower():
            return InvalidSettings(
                f"the message broker {self._wanted.url} refuses the credentials. Set"
                " LLMREC_STREAMS_USER and LLMREC_STREAMS_PASSWORD, or LLMREC_STREAMS_TOKEN (or"
                " …_FILE), to what it knows.",
                field="streams.url",
            )
        return StreamUnavailable(
            f"no message broker answers at {self._wanted.url} ({said.strip()}). Start it, or"
            " correct streams.url."
        )

    async def _check(self, jetstream: JetStreamContext) -> None:
        """Refuse what no waiting makes good: no JetStream, no stream, nowhere for poison."""
        wanted = self._wanted
        try:
            info = await jetstream.stream_info(wanted.stream)
        except NotFoundError as cause:
            raise InvalidSettings(
                f"the message broker has no stream {wanted.stream}. Make it with `nats stream add"
                f" {wanted.stream} --subjects '{', '.join(wanted.subjects)}'`, or correct"
                f" streams.stream. {SAY}",
                field="streams.stream",
            ) from cause
        except (APIError, NoRespondersError) as cause:
            if isinstance(cause, APIError) and cause.err_code not in {None, *NOT_ENABLED}:
                raise
            raise InvalidSettings(
                f"the message broker {wanted.url} has no JetStream for this user. Start it with"
                " JetStream (`nats-server -js`), or allow the account to use it.",
                field="streams.url",
            ) from cause
        copied = info.config.mirror or info.config.sources  # such a stream names no subjects
        for subject in () if copied else wanted.subjects:
            if await _stream_of(jetstream, subject) != wanted.stream:
                raise InvalidSettings(
                    f"the stream {wanted.stream} does not take the subject {subject}. Add it to the"
                    f" stream, or correct streams.events. {SAY}",
                    field="streams.events",
                )
        if await _stream_of(jetstream, wanted.dead_letters) is None:
            raise InvalidSettings(
                f"no stream takes the dead letters: make one with the subject"
                f" {wanted.dead_letters}, or correct streams.dead_letters. {SAY}",
                field="streams.dead_letters",
            )

    async def _subscribed(
        self, client: Client, jetstream: JetStreamContext
    ) -> JetStreamContext.PullSubscription:
        wanted = self._wanted
        config = ConsumerConfig(
            durable_name=wanted.consumer,
            filter_subjects=list(wanted.subjects),
            ack_wait=self._waits.ack_s,
            max_ack_pending=self._waits.unacked,
        )
        try:
            info = await jetstream.add_consumer(  # pyright: ignore[reportUnknownMemberType]
                wanted.stream, config
            )
        except BadRequestError as cause:
            raise InvalidSettings(
                f"the stream {wanted.stream} cannot have the consumer {wanted.consumer}:"
                f" {cause.description}. Correct streams.events, or choose another"
                " streams.consumer.",
                field="streams.consumer",
            ) from cause
        version = client.connected_server_version
        if info.num_ack_pending and (version.major, version.minor) >= RESETS_SINCE:
            await jetstream.reset_consumer(wanted.stream, wanted.consumer)
        return await jetstream.pull_subscribe_bind(wanted.consumer, wanted.stream)


async def _stream_of(jetstream: JetStreamContext, subject: str) -> str | None:
    try:
        return await jetstream.find_stream_name_by_subject(subject)
    except NotFoundError:
        return None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or too large
        return False


def _place(receipt: str) -> int:
    """The message's number in its stream, as the subject of its ack has it (ADR-15 of NATS).

    `$JS.ACK.stream.consumer.delivered.NUMBER.…`, or with domain and account before the stream.
    """
    parts = receipt.split(".")
    return int(parts[5] if len(parts) == 9 else parts[7])


def _ascii(text: str) -> str:
    """One line that a header may hold: clients differ in how they read anything else."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()[:REASON_CHARS]


async def _end(client: Client) -> None:
    with suppress(Error, OSError, TimeoutError):
        await client.close()
