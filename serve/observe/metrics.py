"""Every metric's name, kind, labels and meaning, as data.

Ray puts `ray_` before each name, `_total` after a counter's, and adds the labels of `RAY_LABELS`.
docs/observability.md has the same table.
"""

from dataclasses import dataclass
from typing import Literal

RAY_LABELS = ("deployment", "replica", "application")

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BATCH = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `buckets` are a histogram's upper bounds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that a scrape has it under."""
        name = f"ray_{self.name}"
        if self.kind == "counter":
            return (f"{name}_total",)
        if self.kind == "histogram":
            return (f"{name}_bucket", f"{name}_count", f"{name}_sum")
        return (name,)


REQUESTS = Metric(
    "llmrec_requests",
    "counter",
    ("route", "status", "degraded"),
    "Answers by route pattern, HTTP status, and what was missing (`search,explain`; empty: none).",
)
REQUEST_SECONDS = Metric(
    "llmrec_request_seconds",
    "histogram",
    ("route",),
    "From a request's arrival in the ingress to its last byte, streams included.",
    SECONDS,
)
STAGE_SECONDS = Metric(
    "llmrec_stage_seconds",
    "histogram",
    ("stage",),
    "Time of a request in one stage: user, gather, embed, search, rank, explain.",
    SECONDS,
)
EXPLANATIONS = Metric(
    "llmrec_explanations",
    "counter",
    ("source",),
    "Explanations by who said them: llm or template.",
)
FALLBACKS = Metric(
    "llmrec_explanation_fallbacks",
    "counter",
    ("reason",),
    "Explanations asked of the language model that the template gave: deadline, unavailable,"
    " rejected (the text does not say the facts), absent (there is no model).",
)
EVENTS = Metric(
    "llmrec_events",
    "counter",
    ("outcome",),
    "Events by what became of them: accepted, duplicate, rejected.",
)
FRESHNESS = Metric(
    "llmrec_freshness_seconds",
    "histogram",
    (),
    "From the arrival of new events in the ingress until they are committed: every answer that is"
    " begun later, by any replica, is computed with them.",
    SECONDS,
)
ITEMS = Metric(
    "llmrec_items",
    "counter",
    ("outcome",),
    "Live items by what became of the change: stored, deleted, unchanged.",
)
SHOWN_PENDING = Metric(
    "llmrec_shown_pending",
    "gauge",
    (),
    "Shown answers that wait to be stored.",
)
SHOWN_DROPPED = Metric(
    "llmrec_shown_dropped",
    "counter",
    (),
    "Shown answers that were lost because the event store was too slow or away.",
)
READY = Metric(
    "llmrec_ready",
    "gauge",
    (),
    "1 while an ingress replica answers from a generation, else 0.",
)
WAITING = Metric(
    "llmrec_component_waiting",
    "gauge",
    ("component",),
    "1 while a part waits for something, as /readyz says, else 0.",
)
SHARD_ITEMS = Metric(
    "llmrec_shard_items",
    "gauge",
    ("generation",),
    "Items that a shard replica holds of a generation; 0 once it was dropped.",
)
SHARD_DELTA = Metric(
    "llmrec_shard_delta_items",
    "gauge",
    ("generation",),
    "Items of a shard replica that were changed or deleted since the generation was made.",
)
SHARD_UNREADABLE = Metric(
    "llmrec_shard_unreadable_items",
    "gauge",
    (),
    "Live items of the log that cannot be read, whichever shard owns them: in no answer until put"
    " again or deleted.",
)
SHARD_DELTA_SEQ = Metric(
    "llmrec_shard_delta_seq",
    "gauge",
    ("generation",),
    "Up to where a shard replica has applied the log of live items; 0 once it dropped the"
    " generation.",
)
SHARD_QUESTIONS = Metric(
    "llmrec_shard_call_questions",
    "histogram",
    (),
    "Questions that share one call to a shard.",
    BATCH,
)
SHARD_SECONDS = Metric(
    "llmrec_shard_call_seconds",
    "histogram",
    (),
    "Time of one call inside a shard replica, its questions together.",
    SECONDS,
)
EMBED_TEXTS = Metric(
    "llmrec_embed_texts",
    "counter",
    (),
    "Query texts encoded.",
)
EMBED_BATCH = Metric(
    "llmrec_embed_batch_texts",
    "histogram",
    (),
    "Texts in one batch of the encoder.",
    BATCH,
)
EMBED_SECONDS = Metric(
    "llmrec_embed_seconds",
    "histogram",
    (),
    "Time of one batch in the encoder.",
    SECONDS,
)
GENERATIONS = Metric(
    "llmrec_generator_requests",
    "counter",
    ("outcome",),
    "Prompts by how they ended: finished, left (the caller went away), failed.",
)
PIECES = Metric(
    "llmrec_generator_pieces",
    "counter",
    (),
    "Pieces of text streamed; a piece is a token or a few.",
)
UNFINISHED = Metric(
    "llmrec_generator_unfinished",
    "gauge",
    (),
    "Prompts that a generator replica has begun and not ended.",
)
FIRST_PIECE = Metric(
    "llmrec_generator_first_piece_seconds",
    "histogram",
    (),
    "From a prompt's arrival in the replica to its first piece.",
    SECONDS,
)

METRICS = (
    *(REQUESTS, REQUEST_SECONDS, STAGE_SECONDS, EXPLANATIONS, FALLBACKS, EVENTS),
    *(FRESHNESS, ITEMS, SHOWN_PENDING, SHOWN_DROPPED, READY, WAITING),
    *(SHARD_ITEMS, SHARD_DELTA, SHARD_UNREADABLE, SHARD_DELTA_SEQ),
    *(SHARD_QUESTIONS, SHARD_SECONDS),
    *(EMBED_TEXTS, EMBED_BATCH, EMBED_SECONDS),
    *(GENERATIONS, PIECES, UNFINISHED, FIRST_PIECE),
)
