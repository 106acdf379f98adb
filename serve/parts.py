"""Settings in, the library's stores and encoder out."""

from llmrec_ray.embedding.encoder import SentenceTransformerEmbedder
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.models import local_model
from llmrec_ray.ports import Embedder, EventStore, ObjectStore
from llmrec_ray.settings import Settings, credentials
from llmrec_ray.storage import open_store


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


def open_events(settings: Settings) -> EventStore:
    """The event store of the settings."""
    store = settings.event_store
    return open_event_store(store.url, timeout_s=store.timeout_s, ttl_s=store.recommendations_ttl_s)


def load_embedder(settings: Settings) -> Embedder:
    """The encoder of the settings, its model loaded."""
    embedding = settings.embedding
    return SentenceTransformerEmbedder(
        local_model(embedding.model),
        name=embedding.model,
        query_prefix=embedding.query_prefix,
        passage_prefix=embedding.passage_prefix,
        threads=embedding.threads,
        batch=embedding.batch,
    )
