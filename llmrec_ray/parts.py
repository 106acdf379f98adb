"""Settings in, the library's stores and encoder out: the one place that opens what they name."""

from typing import TYPE_CHECKING

from llmrec_ray.embedding import open_embedder
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.feedback.late_items import LateItemLog
from llmrec_ray.items.log import ItemLog
from llmrec_ray.ports import Embedder, ObjectStore
from llmrec_ray.settings import Settings, credentials, stream_access
from llmrec_ray.storage import open_store
from llmrec_ray.streams import broker_stream
from llmrec_ray.streams.subscription import Subscription, Waits

if TYPE_CHECKING:
    from llmrec_ray.streams.kafka import KafkaStream
    from llmrec_ray.streams.nats import NatsStream


def open_objects(settings: Settings) -> ObjectStore:
    """The object store of the settings; credentials are read when they are needed."""
    store = settings.object_store
    return open_store(
        store.url,
        endpoint=store.endpoint,
        secure=store.secure,
        region=store.region,
        timeout_s=store.timeout_s,
        credentials=credentials,
    )


def open_events(settings: Settings) -> SqlEventStore:
    """The event store of the settings."""
    store = settings.event_store
    return open_event_store(store.url, timeout_s=store.timeout_s, ttl_s=store.recommendations_ttl_s)


def open_stream(settings: Settings) -> "NatsStream | KafkaStream":
    """The broker's stream of the settings: a context manager, which connects."""
    broker = settings.streams
    wanted = Subscription(
        broker.url, broker.stream, broker.subjects, broker.consumer, broker.dead_letters
    )
    waits = Waits(broker.timeout_s, broker.ack_wait_s, unacked=2 * broker.batch)
    return broker_stream(wanted, stream_access(), waits, broker.sasl)


def open_items(settings: Settings) -> ItemLog:
    """The item log of the settings' event store, opened when it is first asked."""
    return LateItemLog(lambda: open_events(settings).items)


def load_embedder(settings: Settings, *, cached: bool = False) -> Embedder:
    """The encoder of the settings, its model loaded; `cached` keeps passages by content hash."""
    embedding = settings.embedding
    return open_embedder(
        embedding.model,
        runtime=embedding.runtime,
        query_prefix=embedding.query_prefix,
        passage_prefix=embedding.passage_prefix,
        threads=embedding.threads,
        batch=embedding.batch,
        cache=embedding.cache if cached else None,
    )
