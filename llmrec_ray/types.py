"""The values that travel between the stages: frozen, slotted, picklable."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.pickling import by_values

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FieldValue = str | float | tuple[str, ...]
FieldKind = Literal["text", "tags", "number", "image"]
EventType = Literal["view", "click", "like", "dislike", "rating", "review", "purchase"]
Metric = Literal["cosine", "dot", "euclidean"]
Runtime = Literal["torch", "openvino", "openvino-int8"]
IndexKind = Literal["auto", "exact", "scan"]
ExplanationSource = Literal["llm", "template"]


# ── what is recommended, and what users did ──────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Item:
    """One item: `fields` maps a name to a text, a number in its own scale, or a tuple of tags."""

    item_id: str
    title: str
    fields: Mapping[str, FieldValue] = field(default_factory=dict[str, FieldValue])


@dataclass(frozen=True, slots=True)
class Event:
    """What a user did to an item; UTC `time`, `value` with ratings, `text` with reviews."""

    event_id: str
    user_id: str
    item_id: str
    type: EventType
    time: datetime
    value: float | None = None
    text: str | None = None
    recommendation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A review's text as one encoder read it: kept with the review, never made again for an answer.

    `encoder` is the hash of its `EncoderInfo`; `lean` in [-1, 1] is how the text was meant, 0 where
    it does not say; `vector` the unit query vector, float32 [dim], little-endian bytes.
    """

    encoder: str
    lean: float
    vector: bytes


@dataclass(frozen=True, slots=True)
class EventWeights:
    """How much an event counts, and how that fades with newer events; kept in the generation.

    A value has a place on `rating_scale`: +1 at the top, 0 in the middle, -1 at the bottom. Above
    the middle it counts 1 - `value_share` · (1 - place), so that all likes are equal at a share of
    0; below, `low_rating` · place, for what a user rated low was still chosen. Each newer event of
    the same user multiplies the weight by `recency` (0 < recency ≤ 1).

    What a review says pulls like liking `review_text` items of that text, on the side that its
    value is on, or else its text.
    """

    by_type: Mapping[EventType, float]
    rating_scale: tuple[float, float] = (1.0, 5.0)
    recency: float = 0.85
    value_share: float = 1.0
    low_rating: float = 0.2
    review_text: float = 1.0

    def worth(self, kind: EventType, value: float | None, lean: float | None = None) -> float:
        """The weight of an event without newer ones.

        A rating without a value says nothing; a review without one is taken as positive, unless its
        text leans the other way.
        """
        by_type = self.by_type.get(kind, 0.0)
        match kind:
            case "rating":
                return by_type * self._judged(value, without=0.0)
            case "review":
                without = 1.0
                if lean is not None and lean < 0:
                    without = lean * self.low_rating
                return by_type * self._judged(value, without=without)
            case _:
                return by_type

    def told(self, value: float | None, lean: float) -> float:
        """The weight of what a review says, without newer events: negative pushes away."""
        return self.review_text * (lean if value is None else self._place(value))

    def _judged(self, value: float | None, *, without: float) -> float:
        if value is None:
            return without
        place = self._place(value)
        if place > 0:
            return 1.0 - self.value_share * (1.0 - place)
        return place * self.low_rating

    def _place(self, value: float) -> float:
        low, high = self.rating_scale
        if not low < high:
            raise InvalidSettings(
                f"rating_scale is ({low}, {high}): its first number must be the smaller one.",
                field="rating_scale",
            )
        return max(-1.0, min(1.0, (value - (low + high) / 2) / ((high - low) / 2)))


@by_values
@dataclass(frozen=True, slots=True)
class WeightedEvent:
    """One event of a fold: its id, its item and its weight w (may be negative)."""

    event_id: str
    item_id: str
    type: str
    weight: float
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one event of a fold says in its own words, and the weight of that."""

    event_id: str
    weight: float
    reading: Reading


@dataclass(frozen=True, slots=True)
class UserState:
    """A user's fold at one user version: newest event first; `seen` has the whole history.

    Every opinion is one of the `events`.
    """

    user_version: int
    events: tuple[WeightedEvent, ...] = ()
    seen: frozenset[str] = frozenset()
    opinions: tuple[Opinion, ...] = ()


# ── the additive score ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Mix:
    """The trained mix of channels: score = Σ w (neighbours·N + taste·q·p + text·t·t) + prior share.

    The prior's share of an item with popularity p in [0, 1] is `prior · p · fade / (fade + Σ|w|)`:
    a longer history shrinks it. A text asked for pulls like `query` events of weight 1.
    """

    neighbours: float
    taste: float
    text: float
    prior: float
    prior_fade: float
    query: float


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field equals one of the values; a tag field holds at least one of them."""

    field: str
    values: tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The number field lies within the bounds that are given."""

    field: str
    gte: float | None = None
    gt: float | None = None
    lte: float | None = None
    lt: float | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """The inner filter does not hold."""

    inner: "Filter"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every inner filter holds."""

    inner: "tuple[Filter, ...]"


Filter = AnyOf | Range | Not | AllOf


# ── questions to the search group, and its answers ───────────────────────────────────────────────


@by_values
@dataclass(frozen=True, slots=True)
class Scope:
    """Which items may be answered: at most `limit`, that pass `filter`, without `exclude`."""

    limit: int
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()


@by_values
@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """An additive query: `vector` = Σ w [τ q ; γ (t - mean)], float64 [taste + text dimensions].

    `prior` scales popularity.
    """

    events: tuple[WeightedEvent, ...]
    vector: Float64s
    prior: float
    scope: Scope
    with_parts: bool = False


@by_values
@dataclass(frozen=True, slots=True)
class NearQuery:
    """A plain vector query, float32 [dim], under a metric."""

    vector: Float32s
    metric: Metric
    scope: Scope


@by_values
@dataclass(frozen=True, slots=True)
class ItemQuery:
    """What is near an item, under a metric; the item itself is no answer."""

    item_id: str
    metric: Metric
    scope: Scope

    def at(self, vector: Float32s) -> NearQuery:
        """The same question once the item's vector is known."""
        scope = replace(self.scope, exclude=self.scope.exclude | {self.item_id})
        return NearQuery(vector, self.metric, scope)


@by_values
@dataclass(frozen=True, slots=True)
class Candidate:
    """One scored item, larger is better; with parts, also what its score is made of.

    `neighbour_shares` float64 [events of the query]; `vector` float32, the item's [p ; t].
    """

    item_id: str
    title: str
    score: float
    prior: float = 0.0
    neighbour_shares: Float64s | None = None
    vector: Float32s | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many shards answered, and the place of the item log that all of these had applied.

    `delta_seq` is None where no shard had to be asked.
    """

    shards_ok: int
    shards_total: int
    delta_seq: int | None = field(default=None, compare=False)

    def __and__(self, other: "Coverage") -> "Coverage":
        told = [seq for seq in (self.delta_seq, other.delta_seq) if seq is not None]
        return Coverage(
            min(self.shards_ok, other.shards_ok),
            max(self.shards_total, other.shards_total),
            min(told, default=None),
        )

    @property
    def complete(self) -> bool:
        return self.shards_ok == self.shards_total


@dataclass(frozen=True, slots=True)
class Found:
    """The best candidates over all shards that answered: by score, ties by item id."""

    candidates: tuple[Candidate, ...]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Gathered:
    """Σ w [τ q ; γ (t - mean)] over a history, each addend on the grid, float64 [dim]."""

    vector: Float64s
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares through vectors, float64 [events, targets]; 0 where an event's shard is lost."""

    by_vectors: Float64s
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Looked:
    """Items found by id, with their text vectors float32 [dim]; unknown ids are absent."""

    items: Mapping[str, Item]
    vectors: Mapping[str, Float32s]
    coverage: Coverage


# ── the answer ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SessionItem:
    """An item of a session without a user id: what was done to it, as an event would tell.

    A `weight` counts instead of what type, value and text would; without all of them it is 1.
    """

    item_id: str
    weight: float | None = None
    type: EventType | None = None
    value: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class RecommendRequest:
    """Who asks (a user, a session, a text, or several of them), and for what."""

    user_id: str | None = None
    session: tuple[SessionItem, ...] = ()
    text: str | None = None
    limit: int = 10
    filter: Filter | None = None
    exclude_ids: frozenset[str] = frozenset()
    exclude_seen: bool = True
    evidence: bool = False


@dataclass(frozen=True, slots=True)
class EventShare:
    """What one event adds to one item's score; a text asked for is an event of type `query`."""

    event_id: str
    item_id: str | None
    title: str | None
    type: str
    share: float
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A score taken apart: score = Σ share + prior (1e-6, relative). Largest |share| first."""

    shares: tuple[EventShare, ...]
    prior: float


@dataclass(frozen=True, slots=True)
class Recommended:
    """One recommended item; rank counts from 1."""

    item_id: str
    title: str
    score: float
    rank: int
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Recommendations:
    """One answer and everything it was computed from."""

    recommendation_id: str
    generation: str
    user_version: int | None
    items: tuple[Recommended, ...]
    coverage: Coverage
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """All that an answer was computed from, beside its generation and its user version.

    `history`: how many events of the user were read at most; `vector`: the text's, float32 bytes;
    `readings`: of the session's reviews, by event id, those that were read in time.
    """

    request: RecommendRequest
    history: int
    vector: bytes | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict[str, Reading])


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer, whom it was shown to, and what it was computed from, where that was kept."""

    user_id: str | None
    answer: Recommendations
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One sentence or two on why an item was recommended, and who said it."""

    item_id: str
    text: str
    source: ExplanationSource
