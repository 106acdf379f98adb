"""The manifest: one JSON document that names every object of a generation with its checksum."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmrec_ray.types import EventWeights, FieldKind, Mix

FORMAT = 4
PLAIN_FORMAT = 3
"""Without tombstones, which readers of that format would not heed; it is read as well."""

ChannelKind = Literal["text", "taste", "neighbours", "popularity"]


class Record(BaseModel):
    """A part of the manifest: frozen, unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Encoder(Record):
    """Which model made the text vectors."""

    name: str
    hash: str
    dim: int


class Scale(Record):
    """How a number field is distributed; its normalised value is (x - mean) / deviation."""

    minimum: float
    maximum: float
    mean: float
    deviation: float


class FieldSpec(Record):
    """One field of the catalogue."""

    kind: FieldKind
    scale: Scale | None = None


class Channel(Record):
    """One addend of the score; each segment stores an object of this name.

    `dim` is that of the vectors of a text or taste channel, 0 for the others.
    """

    name: str
    kind: ChannelKind
    dim: int = 0


class ObjectRef(Record):
    """A content-addressed object: its key holds its own BLAKE2b-256 hash."""

    key: str
    hash: str
    bytes: int


class Segment(Record):
    """Rows of buckets [first_bucket, end_bucket): an object for `items` and each channel.

    Ranges of segments may overlap; an item is in one of them. Where rows are gone, an object
    `tombstones` lists them, and `rows` counts the others.
    """

    first_bucket: int
    end_bucket: int
    rows: int
    objects: dict[str, ObjectRef]


class Manifest(Record):
    """One immutable generation.

    `text_mean` is the mean of its text vectors: what all items share says nothing of a taste.
    `passage` is the template of the texts that were embedded; None where it is not known.
    `item_seq`: the live changes of items up to this place of the log are in it.
    """

    format: Annotated[int, Field(ge=1)] = PLAIN_FORMAT
    generation: str
    created_at: datetime
    encoder: Encoder
    weights: EventWeights
    mix: Mix
    fields: dict[str, FieldSpec]
    channels: tuple[Channel, ...]
    text_mean: tuple[float, ...]
    segments: tuple[Segment, ...]
    items: int
    events: int
    trained_until: datetime | None
    validation_ndcg: float | None = None
    passage: str | None = None
    item_seq: int = 0

    @property
    def taste_dim(self) -> int:
        """Dimensions of the learned vectors; 0 where there were no events to learn from."""
        return sum(channel.dim for channel in self.channels if channel.kind == "taste")

    @property
    def dim(self) -> int:
        """Dimensions of a query's vector: taste, then text."""
        return self.taste_dim + self.encoder.dim
