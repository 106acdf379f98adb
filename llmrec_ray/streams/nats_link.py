"""A subscription in, a checked connection to NATS JetStream out, its durable consumer in place.

The stream and the one that takes dead letters are the operator's: how many replicas they have, and
how long they keep what, is not for a consumer to say.
"""

from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.errors import Error, NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from llmrec_ray.errors import InvalidSettings, StreamUnavailable
from llmrec_ray.settings import StreamAccess
from llmrec_ray.streams.subscription import Subscription, Waits

RESETS_SINCE = (2, 14)
NOT_ENABLED = {10039, 10076}
SAY = "See docs/operations.md."


@dataclass(frozen=True, slots=True)
class Link:
    """A connection, and the pull consumer on it."""

    client: Client
    jetstream: JetStreamContext
    pull: JetStreamContext.PullSubscription


async def connect(wanted: Subscription, access: StreamAccess, waits: Waits) -> Link:
    """A connection that can be worked with; what is wrong is said, and nothing is left open."""
    client = await _client(wanted, access, waits)
    try:
        jetstream = JetStreamContext(client, timeout=waits.timeout_s)
        copied = await _check_stream(jetstream, wanted)
        await _check_subjects(jetstream, wanted, copied=copied)
        pull = await _subscribed(client, jetstream, wanted, waits)
    except BaseException:
        await end(client)
        raise
    return Link(client, jetstream, pull)


async def end(client: Client) -> None:
    """Close, whatever state it is in."""
    with suppress(Error, OSError, TimeoutError):
        await client.close()


async def _client(wanted: Subscription, access: StreamAccess, waits: Waits) -> Client:
    servers = wanted.url.split(",")
    if not all(map(_is_address, servers)):
        raise InvalidSettings(
            f"streams.url is no address of a NATS server: {wanted.url}. Give one such as"
            " nats://127.0.0.1:4222, or several with commas between them.",
            field="streams.url",
        )
    client, heard = Client(), list[str]()

    async def hear(error: Exception) -> None:
        heard.append(str(error) or type(error).__name__)

    seconds = max(1, int(waits.timeout_s))
    try:
        await client.connect(
            servers,
            name="llmrec consume",
            user=access.user,
            password=access.password,
            token=access.token,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=seconds,
            error_cb=hear,
        )
    except (Error, OSError, TimeoutError) as cause:
        await end(client)
        raise _unconnected(wanted.url, " ".join([*heard, str(cause)])) from cause
    return client


def _unconnected(url: str, said: str) -> InvalidSettings | StreamUnavailable:
    if "authorization" in said.lower():
        return InvalidSettings(
            f"the message broker {url} refuses the credentials. Set"
            " LLMREC_STREAMS_USER and LLMREC_STREAMS_PASSWORD, or LLMREC_STREAMS_TOKEN (or"
            " …_FILE), to what it knows.",
            field="streams.url",
        )
    return StreamUnavailable(
        f"no message broker answers at {url} ({said.strip()}). Start it, or correct streams.url."
    )


async def _check_stream(jetstream: JetStreamContext, wanted: Subscription) -> bool:
    """Whether the stream copies others; without it, or without JetStream, no waiting helps."""
    try:
        info = await jetstream.stream_info(wanted.stream)
    except NotFoundError as cause:
        raise InvalidSettings(
            f"the message broker has no stream {wanted.stream}. Make it with `nats stream add"
            f" {wanted.stream} --subjects '{','.join(wanted.subjects)}' --defaults`, or correct"
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
    return bool(info.config.mirror or info.config.sources)


async def _check_subjects(
    jetstream: JetStreamContext, wanted: Subscription, *, copied: bool
) -> None:
    """Refuse subjects that the stream never takes, and dead letters that none does."""
    for subject in () if copied else wanted.subjects:  # such a stream names none
        if await _stream_of(jetstream, subject) != wanted.stream:
            raise InvalidSettings(
                f"the stream {wanted.stream} does not take the subject {subject}. Add it to the"
                f" stream, or correct streams.events or streams.items. {SAY}",
                field="streams.events",
            )
    if await _stream_of(jetstream, wanted.dead_letters) is None:
        raise InvalidSettings(
            f"no stream takes the dead letters: make one with the subject"
            f" {wanted.dead_letters}, or correct streams.dead_letters. {SAY}",
            field="streams.dead_letters",
        )


async def _subscribed(
    client: Client, jetstream: JetStreamContext, wanted: Subscription, waits: Waits
) -> JetStreamContext.PullSubscription:
    config = ConsumerConfig(
        durable_name=wanted.consumer,
        filter_subjects=list(wanted.subjects),
        ack_wait=waits.ack_s,
        max_ack_pending=waits.unacked,
    )
    try:
        info = await jetstream.add_consumer(  # pyright: ignore[reportUnknownMemberType]
            wanted.stream, config
        )
    except BadRequestError as cause:
        raise InvalidSettings(
            f"the stream {wanted.stream} cannot have the consumer {wanted.consumer}:"
            f" {cause.description}. Correct streams.events and streams.items, or choose"
            " another streams.consumer.",
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
