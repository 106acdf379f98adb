"""A subscription in, a checked connection to Kafka out: a reader of every partition, and a writer.

The reader takes part in no balancing of groups: it reads all partitions of its topics, and keeps
its offsets in the broker under the group's name (docs/adr/0013). Topics are never made here.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka has types in part)

import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from llmrec_ray.errors import InvalidSettings, StreamUnavailable
from llmrec_ray.settings import Sasl, StreamAccess
from llmrec_ray.streams.subscription import Subscription, Waits

LARGEST_BYTES = 1_048_576  # of a dead letter: what brokers take by default, and a little less
PARTITIONS_EVERY_MS = 5_000
REFUSED = (
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    KeyError,  # where the broker's last word on SCRAM is an error, the client misses another
)


@dataclass(frozen=True, slots=True)
class Link:
    """The connections of a reader and of the writer of dead letters."""

    reader: AIOKafkaConsumer
    writer: AIOKafkaProducer
    partitions: frozenset[TopicPartition]


async def connect(wanted: Subscription, access: StreamAccess, waits: Waits, sasl: Sasl) -> Link:
    """A connection that can be worked with; what is wrong is said, and nothing is left open."""
    shared = _shared(wanted, access, waits, sasl)
    reader = AIOKafkaConsumer(
        group_id=wanted.consumer,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        metadata_max_age_ms=PARTITIONS_EVERY_MS,
        **shared,
    )
    writer = AIOKafkaProducer(acks="all", max_request_size=LARGEST_BYTES, **shared)
    link = Link(reader, writer, frozenset())
    try:
        await reader.start()
        await writer.start()
        await _check_topics(reader, wanted)
        partitions = partitions_of(reader, wanted)
        reader.assign(sorted(partitions))
    except REFUSED as cause:
        await end(link)
        if access.user is None:
            raise
        raise InvalidSettings(
            f"the message broker {wanted.url} refuses the credentials. Set LLMREC_STREAMS_USER and"
            " LLMREC_STREAMS_PASSWORD (or …_FILE) to what it knows, and streams.sasl to how it is"
            " asked.",
            field="streams.url",
        ) from cause
    except (KafkaError, OSError) as cause:
        await end(link)
        raise StreamUnavailable(
            f"no message broker answers at {wanted.url} ({str(cause) or type(cause).__name__})."
            " Start it, or correct streams.url."
        ) from cause
    except BaseException:
        await end(link)
        raise
    return Link(reader, writer, partitions)


def partitions_of(reader: AIOKafkaConsumer, wanted: Subscription) -> frozenset[TopicPartition]:
    """The partitions that the topics have, as far as the reader has heard."""
    return frozenset(
        TopicPartition(topic, number)
        for topic in wanted.subjects
        for number in reader.partitions_for_topic(topic) or ()
    )


async def _check_topics(reader: AIOKafkaConsumer, wanted: Subscription) -> None:
    """Refuse topics that are not there; all are asked for: a broker may make one that is named."""
    there = await reader.topics()
    _, _, servers = wanted.url.partition("://")
    named = [(one, "streams.events or streams.items") for one in wanted.subjects]
    for topic, setting in (*named, (wanted.dead_letters, "streams.dead_letters")):
        if topic not in there:
            raise InvalidSettings(
                f"the message broker has no topic {topic} for this user. Make it with"
                f" `kafka-topics.sh --bootstrap-server {servers} --create --topic {topic}`, or"
                f" correct {setting}. See docs/operations.md.",
                field=setting.split()[0],
            )


async def end(link: Link) -> None:
    """Close both, whatever state they are in."""
    for part in (link.reader, link.writer):
        with suppress(KafkaError, OSError, TimeoutError):
            await part.stop()


def _shared(wanted: Subscription, access: StreamAccess, waits: Waits, sasl: Sasl) -> dict[str, Any]:
    """What reader and writer are both opened with."""
    scheme, _, servers = wanted.url.partition("://")
    if not all(map(_is_address, servers.split(","))):
        raise InvalidSettings(
            f"streams.url is no address of a Kafka broker: {wanted.url}. Give one such as"
            " kafka://127.0.0.1:9092, or several with commas between them.",
            field="streams.url",
        )
    if access.token is not None:
        raise InvalidSettings(
            "LLMREC_STREAMS_TOKEN is set, and Kafka takes no token here. Set LLMREC_STREAMS_USER"
            " and LLMREC_STREAMS_PASSWORD instead (or …_FILE).",
            field="LLMREC_STREAMS_TOKEN",
        )
    encrypted = scheme == "kafka+tls"
    plain, secured = ("SSL", "SASL_SSL") if encrypted else ("PLAINTEXT", "SASL_PLAINTEXT")
    return {
        "bootstrap_servers": servers.split(","),
        "client_id": "llmrec-consume",
        "request_timeout_ms": int(waits.timeout_s * 1_000),
        "security_protocol": plain if access.user is None else secured,
        "ssl_context": ssl.create_default_context() if encrypted else None,
        "sasl_mechanism": sasl,
        "sasl_plain_username": access.user,
        "sasl_plain_password": access.password,
    }


def _is_address(server: str) -> bool:
    host, _, port = server.strip().rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65_536
