"""A small catalogue with two tastes, and users who mostly keep to one of them."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from llmrec_ray.catalog.description import load_description
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.evaluation.data import Data, Past, read_data
from llmrec_ray.types import Event

ITEMS = 30
USERS = 24

DESCRIPTION = """
files: items.csv
columns: {id: id, title: title, tags: [genre]}
events:
  files: events.csv
  type: rating
  columns: {user: user, item: item, value: value, time: time}
"""


def write_catalog(folder: Path, seed: int = 1) -> Path:
    """Items, ratings of 1, 4 or 5 with times, and the description; returns its path."""
    kinds = ["War", "Love"]
    items = [f"i{n},{kinds[n % 2]} film {n},{kinds[n % 2]}" for n in range(ITEMS)]
    (folder / "items.csv").write_text("\n".join(["id,title,genre", *items]) + "\n")
    rng = random.Random(seed)
    rows = [
        f"u{user},i{2 * item + (user % 2 if place % 4 else place % 2)},{rng.choice([1, 4, 5])},"
        f"{1000 * user + place}"
        for user in range(USERS)
        for place, item in enumerate(rng.sample(range(ITEMS // 2), 12))
    ]
    (folder / "events.csv").write_text("\n".join(["user,item,value,time", *rows]) + "\n")
    (folder / "catalog.yaml").write_text(DESCRIPTION)
    return folder / "catalog.yaml"


def small_data(folder: Path, seed: int = 1) -> Data:
    """The catalogue as an evaluation reads it, embedded without a model."""
    embedder = HashingEmbedder()
    described = load_description(write_catalog(folder, seed))
    return read_data(described, embedder.passages, embedder.info)


def likes(histories: dict[str, list[int]], ids: tuple[str, ...]) -> list[Event]:
    """Likes of items by code, an hour apart, oldest first."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Event(f"{user}-{place}", user, ids[code], "like", start + timedelta(hours=place))
        for user, codes in histories.items()
        for place, code in enumerate(codes)
    ]


def past_of(data: Data, codes: list[int]) -> Past:
    """One user's past of these items."""
    events = likes({"u": codes}, data.catalog.ids)
    return Past("u", tuple(events), np.array(codes, dtype=np.int64))


ALL = np.ones(ITEMS, dtype=np.bool_)
