"""A number of items in, a catalogue of vectors with trained shapes out, and queries of four kinds.

Texts are the demo's films, encoded; beyond them, mixtures of near films with noise. Learned vectors
are drawn: the direction follows the text, the spectrum falls as 1/√n, and the norms are as
heavy-tailed as training makes them on products (median .075, 99 % 1.78, most 4.4).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.embed import passages
from llmrec_ray.embedding import open_embedder
from llmrec_ray.generation.draft import ChannelTable, Draft
from llmrec_ray.generation.manifest import ChannelKind, FieldSpec, Scale
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.schemas import (
    NEIGHBOURS_SCHEMA,
    POPULARITY_SCHEMA,
    items_schema,
    taste_schema,
    vectors_schema,
)
from llmrec_ray.storage.columns import vectors_column
from llmrec_ray.types import EventWeights, Float32s, Mix

TASTE = 128
NEIGHBOURS = 8
HISTORY = 20
MIX = Mix(neighbours=1.0, taste=1.0, text=0.1, prior=0.3, prior_fade=2.0, query=6.0)
MIXED = 4_096  # films that mixtures begin with
DRAWN = 16_384  # rows at once
PERCENTS = (1, 10, 50)
RUNTIME = "openvino"
SEED = 5


@dataclass(frozen=True, slots=True)
class Corpus:
    """Row-aligned: text, context (q) and target (p) vectors, popularity, neighbours [rows, n].

    `asked` are text vectors of films that are no items; `histories` rows [users, HISTORY].
    """

    encoder: EncoderInfo
    text: Float32s
    context: Float32s
    target: Float32s
    popularity: Float32s
    neighbours: np.ndarray
    asked: Float32s
    histories: np.ndarray

    @property
    def joint(self) -> Float32s:
        """[p ; t], float32 [rows, dims]."""
        return np.concatenate([self.target, self.text], axis=1)


def corpus(items: int, queries: int, model: str) -> Corpus:
    """The vectors of so many items, and of so many queries of each kind."""
    random = np.random.default_rng(SEED)
    films, encoder = _films(model)
    asked, films = films[:queries], films[queries:]
    text = _text(films, items, random)
    norms = np.clip(0.075 * np.exp(1.36 * random.normal(size=items)), 0, 4.4)
    tastes = _tastes(text, norms, random)
    popularity = (norms / norms.max() * random.random(items)).astype(np.float32)
    return Corpus(
        encoder=encoder,
        text=text,
        context=tastes[0],
        target=tastes[1],
        popularity=popularity,
        neighbours=random.choice(items, (items, NEIGHBOURS), p=norms / norms.sum()),
        asked=asked,
        histories=random.choice(items, (queries, HISTORY), p=norms / norms.sum()),
    )


def draft_of(made: Corpus) -> Draft:
    """A generation of these vectors; the field `share` is even over 0 … 99."""
    count, dim = made.text.shape
    ids = np.array([f"i{row}" for row in range(count)])
    items = {
        "item_id": ids,
        "title": ids,
        "field.share": np.random.default_rng(SEED).integers(0, 100, count).astype(np.float64),
    }
    pairs = np.unique(made.neighbours * count + np.arange(count)[:, None])
    neighbours = {
        "source": ids[pairs // count],
        "target": ids[pairs % count],
        "weight": np.random.default_rng(SEED).random(len(pairs)).astype(np.float32),
    }
    tastes = [vectors_column(made.context), vectors_column(made.target)]
    popularity = pa.table({"popularity": pa.array(made.popularity)}, schema=POPULARITY_SCHEMA)
    channels: dict[ChannelKind, pa.Table] = {
        "text": pa.table([vectors_column(made.text)], schema=vectors_schema(dim)),
        "taste": pa.table(tastes, schema=taste_schema(TASTE)),
        "neighbours": pa.table(neighbours, schema=NEIGHBOURS_SCHEMA),
        "popularity": popularity,
    }
    return Draft(
        items=pa.table(items, schema=items_schema({"share": "number"})),
        fields={
            "share": FieldSpec(
                kind="number", scale=Scale(minimum=0, maximum=99, mean=49.5, deviation=29)
            )
        },
        channels=tuple(ChannelTable(name, name, table) for name, table in channels.items()),
        encoder=made.encoder,
        weights=EventWeights({"like": 1.0}),
        mix=MIX,
        events=made.histories.size,
        trained_until=None,
    )


def _films(model: str) -> tuple[Float32s, EncoderInfo]:
    embedder = open_embedder(
        model,
        runtime=RUNTIME,
        query_prefix=None,
        passage_prefix=None,
        threads=1,
        batch=32,
        cache=Path("var/embedding-cache"),
    )
    return embedder.passages(passages(1_000_000)), embedder.info


def _text(films: Float32s, items: int, random: np.random.Generator) -> Float32s:
    """The films, then mixtures of a film, one of its 20 nearest and noise, float32 [items, dim]."""
    made = np.empty((items, films.shape[1]), np.float32)
    done = len(films[:items])
    made[:done] = films[:items]
    bases = films[:MIXED]
    near = np.argpartition(-(bases @ films.T), 20, axis=1)[:, :20].copy()
    while done < items:
        picked = random.integers(0, len(bases), min(items - done, DRAWN))
        other = films[near[picked, random.integers(0, 20, len(picked))]]
        share = random.random((len(picked), 1))
        noise = 0.3 * random.normal(size=other.shape) / np.sqrt(films.shape[1])
        mixed = _unit(share * bases[picked] + (1 - share) * other + noise)
        made[done : (done := done + len(mixed))] = mixed
    return made


def _tastes(text: Float32s, norms: np.ndarray, random: np.random.Generator) -> list[Float32s]:
    """q and p, float32 [items, TASTE]: rotated, as training stores them."""
    through = random.normal(size=(text.shape[1], TASTE)) * 2
    spectrum = 1 / np.sqrt(1 + np.arange(TASTE))
    rotation = np.linalg.qr(random.normal(size=(TASTE, TASTE)))[0]
    made: list[Float32s] = []
    for spread in (0.3, 0.0):
        drawn = np.empty((len(text), TASTE), np.float32)
        for start in range(0, len(text), DRAWN):
            part = text[start : start + DRAWN] @ through
            part += random.normal(size=part.shape)
            drawn[start : start + DRAWN] = _unit(part * spectrum)
        lengths = norms * np.exp(spread * random.normal(size=len(text)))
        for start in range(0, len(text), DRAWN):
            part = drawn[start : start + DRAWN]
            part[:] = part * lengths[start : start + DRAWN, None] @ rotation
        made.append(drawn)
    return made


def _unit(vectors: np.ndarray) -> Float32s:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
