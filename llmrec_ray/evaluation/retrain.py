"""The live generation and events in; a generation trained anew, and not a worse one, out.

Items, their text vectors and the encoder are those of the live generation: nothing is embedded.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from llmrec_ray.catalog.clean import Cleaned, NumberScale
from llmrec_ray.catalog.report import Report
from llmrec_ray.errors import GenerationNotFound, WorseGeneration
from llmrec_ray.evaluation.compare import ROUNDS, Paired, paired, resampled
from llmrec_ray.evaluation.data import Ask, Ranker
from llmrec_ray.evaluation.newer import newer
from llmrec_ray.evaluation.ours import Served
from llmrec_ray.evaluation.past_events import Until
from llmrec_ray.generation.activation import Activation, activate_next, current
from llmrec_ray.generation.contents import contents
from llmrec_ray.generation.draft import Draft
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.learning.blocks import Spread, here
from llmrec_ray.metrics import hits, ndcg, sizes
from llmrec_ray.pipeline import Scanned, learn
from llmrec_ray.ports import EncoderInfo, ObjectStore
from llmrec_ray.schemas import ITEM_ID
from llmrec_ray.settings import LearningSettings
from llmrec_ray.shard import Shard
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import FieldKind, Float32s, Float64s

FEWEST_USERS = 50
"""With fewer users a difference would be noise, and a comparison is left out."""

AT = 10

Step = Literal["compare", "train", "publish"]
STEPS: Mapping[Step, str] = {
    "compare": "comparing a candidate with the live generation",
    "train": "training on all events",
    "publish": "publishing",
}
Told = Callable[[Step], None]


def _untold(_: Step) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """NDCG@10 of a candidate and of the live generation on later events.

    `difference` is the candidate's less the live one's, by user; None where `users` were too few.
    """

    users: int
    new_events: int
    cut: datetime | None
    candidate: float | None = None
    live: float | None = None
    difference: Paired | None = None

    @property
    def is_worse(self) -> bool:
        """Whether even the upper bound of the difference is below 0."""
        return self.difference is not None and self.difference.difference.high < 0


@dataclass(frozen=True, slots=True)
class Retrained:
    """What was published, whether it became current, and how it compared."""

    manifest: Manifest
    activation: Activation | None
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class LiveGeneration:
    """The generation that is current, and the activation that made it so."""

    manifest: Manifest
    activation: Activation


class Trainer:
    """Trains on the items of one live generation; `history` bounds a user's events online."""

    def __init__(
        self,
        objects: ObjectStore,
        live: LiveGeneration,
        learning: LearningSettings,
        *,
        history: int,
        spread: Spread = here,
    ) -> None:
        self._objects = objects
        self.live, self.started_from = live.manifest, live.activation
        self._learning = learning
        self._history = history
        self._spread = spread
        self._cleaned, self._text = _catalog(objects, self.live)
        self.ids = tuple(texts(self._cleaned.items, ITEM_ID))

    def train(self, events: Scanned) -> Draft:
        """A draft from all of the events."""
        made_with = self.live.encoder
        draft = learn(
            self._cleaned,
            self._text,
            events,
            encoder=EncoderInfo(made_with.name, made_with.hash, made_with.dim),
            learning=self._learning,
            spread=self._spread,
        )
        return replace(draft, passage=self.live.passage, item_seq=self.live.item_seq)

    def compare(self, events: Scanned) -> Comparison:
        """A candidate up to a cut after `trained_until` against the live generation, after it."""
        seed = self._learning.seed
        found = newer(events, self.live.trained_until, self.ids, seed=seed)
        if found.cut is None or len(found.asks) < FEWEST_USERS:
            return Comparison(len(found.asks), found.events, found.cut)
        candidate = self.train(Until(events, found.cut))
        with _stored(candidate) as (store, manifest):
            theirs = self._ndcg(self._served(store, manifest), found.asks)
        ours = self._ndcg(self._served(self._objects, self.live), found.asks)
        values = np.stack([theirs, ours], axis=1)
        difference = paired(values, resampled(values, ROUNDS, seed), 0, 1)
        means = values.mean(axis=0)
        return Comparison(
            len(found.asks),
            found.events,
            found.cut,
            candidate=float(means[0]),
            live=float(means[1]),
            difference=difference,
        )

    def _served(self, store: ObjectStore, manifest: Manifest) -> Ranker:
        shard = Shard(store, shard=0, shards=1)
        shard.prepare(manifest)
        return Served(shard, manifest, self.ids, self._history)

    def _ndcg(self, ranker: Ranker, asks: tuple[Ask, ...]) -> Float64s:
        ranked = ranker.rank(asks, np.ones(len(self.ids), np.bool_), AT)
        targets = [ask.targets for ask in asks]
        return ndcg(hits(ranked, targets), sizes(targets), AT)


def live_generation(objects: ObjectStore) -> LiveGeneration:
    """The current generation; `GenerationNotFound` where there is none."""
    active = current(objects)
    if active is None:
        raise GenerationNotFound(
            "no generation is current, so there are no items to train on. Run `llmrec publish"
            " CATALOG.yaml` first."
        )
    return LiveGeneration(load_manifest(objects, active.generation), active)


def retrain(
    trainer: Trainer,
    objects: ObjectStore,
    events: Scanned,
    *,
    writer: str,
    force: bool = False,
    activated: bool = True,
    told: Told = _untold,
) -> Retrained:
    """Compare, train on all events, publish, and activate.

    Raises `WorseGeneration`, before anything is published, where the candidate ranked later events
    worse than the live generation; `force` publishes it all the same. Raises `Conflict` where
    another generation, which may have other items, was activated meanwhile.
    """
    told("compare")
    comparison = trainer.compare(events)
    if comparison.is_worse and not force:
        raise WorseGeneration(
            f"not published: {described(comparison)} Look at the new events and at learning.… in"
            " the settings, or publish it all the same with --force."
        )
    told("train")
    draft = trainer.train(events)
    told("publish")
    manifest = publish(objects, draft, base=trainer.live)
    started = trainer.started_from
    made = activate_next(objects, manifest.generation, writer, started) if activated else None
    return Retrained(manifest, made, comparison)


def described(found: Comparison) -> str:
    """The comparison in a sentence or two."""
    if found.difference is None or found.cut is None:
        return (
            f"Not compared with the live generation: {found.users} users liked something new in"
            f" the later half of the {found.new_events:,} events since its training, and"
            f" {FEWEST_USERS} are needed."
        )
    bounds = found.difference.difference
    return (
        f"on what {found.users:,} users liked after {found.cut:%Y-%m-%d %H:%M} a candidate that was"
        f" trained until then has NDCG@{AT} {found.candidate:.4f}, and the live generation"
        f" {found.live:.4f}; difference {bounds.mean:+.4f}, 95 % between {bounds.low:+.4f} and"
        f" {bounds.high:+.4f}."
    )


def summary(made: Retrained) -> str:
    """What came of it, for people."""
    manifest, activation = made.manifest, made.activation
    state = f"current since activation {activation.number}" if activation else "not activated"
    counts = f"{manifest.items:,} items, {manifest.events:,} events"
    compared = described(made.comparison)
    first = compared[0].upper() + compared[1:]
    return f"{first}\nGeneration {manifest.generation}: {counts}, {state}."


@contextmanager
def _stored(draft: Draft) -> Generator[tuple[ObjectStore, Manifest]]:
    """A draft published where nobody looks."""
    with TemporaryDirectory(prefix="llmrec-train-") as folder:
        store = FolderStore(Path(folder))
        yield store, publish(store, draft)


def _catalog(objects: ObjectStore, live: Manifest) -> tuple[Cleaned, Float32s]:
    known = contents(objects, live)
    kinds: dict[str, FieldKind] = {name: spec.kind for name, spec in live.fields.items()}
    scales = {
        name: NumberScale(**spec.scale.model_dump())
        for name, spec in live.fields.items()
        if spec.scale is not None
    }
    rows = known.items.num_rows
    report = Report("catalogue", rows, rows, repaired={}, rejected={}, rejected_to=None)
    return Cleaned(known.items, kinds, scales, report), known.text
