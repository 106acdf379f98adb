"""A catalogue as plain dicts, and every score of it by loops: what answers are compared with."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.generation.draft import ChannelTable, Draft
from llmrec_ray.generation.manifest import FieldSpec
from llmrec_ray.schemas import POPULARITY_SCHEMA, items_schema, taste_schema, vectors_schema
from llmrec_ray.storage.columns import vectors_column
from llmrec_ray.types import EventType, EventWeights, Metric, Mix
from tests.support.generations import neighbours

TEXT_DIM = 6
TASTE_DIM = 3
RECENCY = 0.85
WORTH: dict[EventType, float] = {"like": 1.0, "view": 0.2}
MIX = Mix(neighbours=1.0, taste=0.7, text=0.4, prior=0.3, prior_fade=2.0, query=1.5)
TOLERANCE = 1e-6
PASSAGE = "{title}. {genre}."
MODEL = HashingEmbedder(TEXT_DIM)


@dataclass(frozen=True)
class NaiveItem:
    """One item and all that was learned of it."""

    title: str
    genre: str | None
    text: np.ndarray
    context: np.ndarray
    target: np.ndarray
    popularity: float


NEVER_SEEN = NaiveItem(
    "", None, np.zeros(TEXT_DIM), np.zeros(TASTE_DIM), np.zeros(TASTE_DIM), popularity=0.0
)


@dataclass(frozen=True)
class LiveItem:
    """An item as it was put; a `strange` one has a vector of another encoder, and is not found.

    `text` is what the model's encoder makes of it, as a new generation has it.
    """

    title: str
    genre: str | None
    text: np.ndarray
    strange: bool = False


@dataclass(frozen=True)
class Catalogue:
    """One generation: its items, neighbours by (source, target), and the mean of the texts."""

    items: Mapping[str, NaiveItem]
    neighbours: Mapping[tuple[str, str], float]
    mean: np.ndarray

    def scores(
        self, events: Sequence[tuple[str, float]], text: np.ndarray | None = None
    ) -> dict[str, float]:
        """The additive score of every item, for weighted events and perhaps a text's vector."""
        pull = sum(abs(weight) for _, weight in events) + (0.0 if text is None else MIX.query)
        prior = MIX.prior * MIX.prior_fade / (MIX.prior_fade + pull)
        found: dict[str, float] = {}
        for item_id, item in self.items.items():
            score = prior * item.popularity
            if text is not None:
                score += MIX.query * MIX.text * _dot(text, item.text)
            for source, weight in events:
                score += weight * MIX.neighbours * self.neighbours.get((source, item_id), 0.0)
                if (past := self.items.get(source)) is not None:
                    score += weight * MIX.taste * _dot(past.context, item.target)
                    score += weight * MIX.text * _dot(past.text - self.mean, item.text)
            found[item_id] = score
        return found

    def nearest(self, vector: np.ndarray, metric: Metric) -> dict[str, float]:
        """Every item's score against a vector."""
        of: dict[Metric, Callable[[np.ndarray], float]] = {
            "dot": lambda text: _dot(text, vector),
            "cosine": lambda text: _dot(text, vector) / _length(text) / _length(vector),
            "euclidean": lambda text: -_length(text.astype(float) - vector.astype(float)),
        }
        return {item_id: of[metric](item.text) for item_id, item in self.items.items()}

    def with_live(self, changes: Mapping[str, LiveItem | None]) -> "Catalogue":
        """With items put or deleted (None); a changed one keeps what was learned of it."""
        items = dict(self.items)
        for item_id, change in changes.items():
            if change is None or change.strange:
                items.pop(item_id, None)
                continue
            learned = self.items.get(item_id, NEVER_SEEN)
            items[item_id] = replace(
                learned, title=change.title, genre=change.genre, text=change.text
            )
        return replace(self, items=items)

    def compacted(self) -> "Catalogue":
        """As a generation of its own, which forgets the neighbours of what is not in it."""
        kept = {pair: weight for pair, weight in self.neighbours.items() if pair[1] in self.items}
        return replace(self, neighbours=kept)


def best(
    scores: Mapping[str, float], allowed: Collection[str], limit: int
) -> list[tuple[str, float]]:
    """The ranking: by score, ties by id."""
    ranked = sorted((-score, item_id) for item_id, score in scores.items() if item_id in allowed)
    return [(item_id, -score) for score, item_id in ranked[:limit]]


def same_ranking(
    told: Sequence[tuple[str, float]],
    scores: Mapping[str, float],
    allowed: Collection[str],
    limit: int,
) -> bool:
    """Whether an answer is the ranking; items whose scores are equal within 1e-6 may swap."""
    expected = best(scores, allowed, limit)
    ids = [item_id for item_id, _ in told]
    return (
        len(told) == len(expected)
        and len(set(ids)) == len(ids)
        and all(item_id in allowed for item_id in ids)
        and all(
            abs(score - wanted) <= TOLERANCE and abs(scores[item_id] - score) <= TOLERANCE
            for (item_id, score), (_, wanted) in zip(told, expected, strict=True)
        )
    )


def folded(events: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Weights of events, oldest first: each newer one fades the older ones."""
    newest = len(events) - 1
    return [
        (item_id, weight * RECENCY ** (newest - at)) for at, (item_id, weight) in enumerate(events)
    ]


def catalogue(numbers: Collection[int], seed: int) -> Catalogue:
    """Items f0, f1, … of the numbers; the seed decides what was learned of them."""
    random = np.random.default_rng([seed, len(numbers)])
    items: dict[str, NaiveItem] = {}
    for number in sorted(numbers):
        own = np.random.default_rng(number)  # its text is the same in every generation
        text = own.normal(size=TEXT_DIM)
        items[f"f{number}"] = NaiveItem(
            title=f"Film {number}",
            genre=f"genre {number % 3}",
            text=(text / np.linalg.norm(text)).astype(np.float32),
            context=random.normal(size=TASTE_DIM).astype(np.float32),
            target=random.normal(size=TASTE_DIM).astype(np.float32),
            popularity=float(np.float32(random.random())),
        )
    ids = list(items)
    pairs: dict[tuple[str, str], float] = {}
    for target in ids:
        for source in random.choice([*ids, "gone"], size=2):
            if source != target:
                pairs[str(source), target] = float(np.float32(random.random()))
    mean = np.mean([item.text.astype(float) for item in items.values()], axis=0)
    return Catalogue(items, pairs, mean)


def draft_of(made: Catalogue) -> Draft:
    """The same catalogue as what is published."""
    ids, items = list(made.items), list(made.items.values())
    table = pa.table(
        {
            "item_id": ids,
            "title": [item.title for item in items],
            "field.genre": [item.genre for item in items],
        },
        schema=items_schema({"genre": "text"}),
    )
    text, context, target = (
        np.stack([getattr(item, name) for item in items]) for name in ("text", "context", "target")
    )
    taste = pa.table(
        [vectors_column(context), vectors_column(target)], schema=taste_schema(TASTE_DIM)
    )
    popular = pa.table(
        {"popularity": [item.popularity for item in items]}, schema=POPULARITY_SCHEMA
    )
    vectors = pa.table([vectors_column(text)], schema=vectors_schema(TEXT_DIM))
    return Draft(
        items=table,
        fields={"genre": FieldSpec(kind="text")},
        channels=(
            ChannelTable("text", "text", vectors),
            ChannelTable("taste", "taste", taste),
            ChannelTable("neighbours", "neighbours", neighbours(dict(made.neighbours))),
            ChannelTable("popularity", "popularity", popular),
        ),
        encoder=MODEL.info,
        weights=EventWeights(WORTH, recency=RECENCY),
        mix=MIX,
        events=0,
        trained_until=datetime(2026, 1, 2, tzinfo=UTC),
        passage=PASSAGE,
    )


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True))


def _length(vector: np.ndarray) -> float:
    return _dot(vector, vector) ** 0.5
