"""Messages of a broker in, the same durable effects out that HTTP has, each message's once."""

from typing import TYPE_CHECKING

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import Sasl, StreamAccess
from llmrec_ray.streams.subscription import Subscription, Waits

if TYPE_CHECKING:
    from llmrec_ray.streams.kafka import KafkaStream
    from llmrec_ray.streams.nats import NatsStream


def broker_stream(
    wanted: Subscription, access: StreamAccess, waits: Waits, sasl: Sasl
) -> "NatsStream | KafkaStream":
    """The stream of the broker that the URL's scheme names; its client is loaded then."""
    match wanted.url.partition("://")[0]:
        case "nats" | "tls":
            from llmrec_ray.streams.nats import NatsStream

            return NatsStream(wanted, access, waits)
        case "kafka" | "kafka+tls":
            try:
                from llmrec_ray.streams.kafka import KafkaStream
            except ImportError as cause:
                raise InvalidSettings(
                    f"streams.url is {wanted.url}, and the client of Kafka is not installed: pip"
                    " install 'llmrec-ray[kafka]'.",
                    field="streams.url",
                ) from cause
            return KafkaStream(wanted, access, waits, sasl)
        case _:
            raise InvalidSettings(
                f"streams.url names a kind of broker that is not known here: {wanted.url}. Give a"
                " NATS server with JetStream, such as nats://127.0.0.1:4222, or Kafka, such as"
                " kafka://127.0.0.1:9092.",
                field="streams.url",
            )
