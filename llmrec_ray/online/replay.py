"""A stored answer's question in, ports that answer as they did then out; and the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmrec_ray.errors import NotReplayable
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.ports import EventStore, History, ObjectStore
from llmrec_ray.types import Float32s, Question, Reading, Recommendations, Shown


@dataclass(frozen=True, slots=True)
class Replay:
    """An answer as it was stored, and as it is computed now under the same id."""

    stored: Recommendations
    again: Recommendations

    @property
    def identical(self) -> bool:
        """Whether ids, ranks, scores, titles and evidence are the same, bit for bit."""
        return self.stored.items == self.again.items

    @property
    def reason(self) -> str | None:
        """Why the answers may differ; None where they are identical, or computed from the same."""
        then, now = self.stored.coverage.delta_seq or 0, self.again.coverage.delta_seq or 0
        if self.identical or then == now:
            return None
        return (
            f"live items changed: the answer was computed with the changes up to delta_seq {then},"
            f" and the shards have applied those up to {now}, of which earlier states are not kept."
        )


class AsOf:
    """The user histories of an event store as they were at one user version."""

    def __init__(self, events: EventStore, user_version: int) -> None:
        self._events = events
        self._user_version = user_version

    def user_version(self, user_id: str) -> int:
        del user_id
        return self._user_version

    def history(self, user_id: str, limit: int) -> History:
        return self._events.history(user_id, limit, self._user_version)

    def readings(self, event_ids: Sequence[str], encoder: str, at: int) -> dict[str, Reading]:
        return self._events.readings(event_ids, encoder, at)


class Recalled:
    """The embedding pool as it answered then: the text's vector, the session's readings."""

    def __init__(self, vector: bytes | None, readings: Mapping[str, Reading]) -> None:
        self._vector = vector
        self._readings = readings

    async def read(self, texts: Mapping[str, str]) -> Mapping[str, Reading]:
        del texts
        return self._readings

    async def embed(self, text: str) -> Float32s:
        del text
        assert self._vector is not None, "a question with a text is stored with its vector"
        return np.frombuffer(self._vector, np.float32)


def question_of(shown: Shown) -> Question:
    """What a stored answer was computed from; `NotReplayable` where that was not kept."""
    if shown.question is None:
        raise NotReplayable(
            "this recommendation was stored by an earlier release, which did not keep what was "
            "asked. Ask for a new one."
        )
    return shown.question


def manifest_of(generation: str, generations: Pinned, objects: ObjectStore) -> Manifest:
    """The manifest of a generation that is served now.

    `GenerationNotFound` where it was deleted, `NotReplayable` where it is published and not held.
    """
    held: Sequence[Manifest | None] = (generations.current(), generations.previous())
    for manifest in held:
        if manifest is not None and manifest.generation == generation:
            return manifest
    load_manifest(objects, generation)
    names = " and ".join(manifest.generation for manifest in held if manifest is not None)
    raise NotReplayable(
        f"this recommendation was computed from generation {generation}, and the shards hold "
        f"{names} now. Activate {generation}, here or on another service over the same stores, "
        "and replay it then.",
        generation=generation,
    )


def under_its_id(stored: Recommendations, again: Recommendations) -> Replay:
    """The two answers to compare."""
    return Replay(stored, replace(again, recommendation_id=stored.recommendation_id))
