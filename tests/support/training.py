"""A live generation that was trained on the first half of some users' likes, in a folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from llmrec_ray.evaluation.data import Data
from llmrec_ray.generation.activation import activate
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.pipeline import learn
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Event
from tests.support.evaluating import ITEMS, likes, small_data

QUICK = LearningSettings(tune_maps=0, tune_mixes=0, taste_dim=8)
LIKES = 12
HALF = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=LIKES // 2 - 1)
"""Each user's likes are an hour apart: this is the time of the last one of the first half."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Events as a store scans them."""

    events: tuple[Event, ...]

    def scan(self) -> Iterable[Event]:
        return self.events


def tastes(data: Data, users: int) -> Scan:
    """Users who like items of one parity only, so that each taste foretells the rest of it."""
    random = np.random.default_rng(3)
    histories = {
        f"u{user:03}": (2 * random.permutation(ITEMS // 2)[:LIKES] + user % 2).tolist()
        for user in range(users)
    }
    return Scan(tuple(likes(histories, data.catalog.ids)))


@dataclass(frozen=True, slots=True)
class Live:
    """The store with one active generation, and all events, half of them newer than it."""

    objects: FolderStore
    manifest: Manifest
    events: Scan


def live(folder: Path, users: int) -> Live:
    """Publish and activate."""
    data = small_data(folder)
    events = tastes(data, users)
    first = Scan(tuple(event for event in events.events if event.time <= HALF))
    objects = FolderStore(folder / "objects")
    draft = learn(
        data.catalog.cleaned,
        data.catalog.vectors,
        first,
        encoder=data.catalog.encoder,
        learning=QUICK,
    )
    manifest = publish(objects, draft)
    activate(objects, manifest.generation, "the test")
    return Live(objects, manifest, events)
