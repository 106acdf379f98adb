"""What pulls an answer in, and a candidate's score taken apart into what pulled it out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from llmrec_ray.search.arithmetic import dots
from llmrec_ray.types import (
    Candidate,
    Coverage,
    EventShare,
    Evidence,
    Float32s,
    Float64s,
    Mix,
    Opinion,
    WeightedEvent,
)

T = TypeVar("T")

QUERY = "query"
"""The event id and type of the request's own text among the shares."""

UNATTRIBUTED = "unattributed"
"""The event id and type of what events on a lost shard add."""

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Spoken:
    """The text asked for, its vector float32, and its addend to the query vector, float64."""

    text: str
    vector: Float32s
    addend: Float64s


@dataclass(frozen=True, slots=True)
class Pull:
    """The events, what they say, and the text that pull; the sum of it all, float64 [dim]."""

    events: tuple[WeightedEvent, ...]
    opinions: tuple[Opinion, ...]
    vector: Float64s
    spoken: Spoken | None
    coverages: Sequence[Coverage]


def prior_factor(pull: Pull, mix: Mix) -> float:
    """prior · fade / (fade + Σ|w|), with an exact sum: the order of events does not matter."""
    weight = math.fsum(abs(event.weight) for event in pull.events)
    weight += mix.query if pull.spoken is not None else 0.0
    return mix.prior * mix.prior_fade / (mix.prior_fade + weight)


def taken_apart(
    candidate: Candidate, pull: Pull, by_vectors: Float64s, titles: Mapping[str, str]
) -> Evidence:
    """One candidate's shares, largest first; `by_vectors` float64 [events of the pull].

    What the shares leave of the score was added by events on a shard that is lost by now.
    """
    both = by_vectors + part(candidate.neighbour_shares)
    shares = [
        EventShare(
            event.event_id, event.item_id, titles.get(event.item_id), event.type, share, event.value
        )
        for event, share in zip(pull.events, both.tolist(), strict=True)
    ]
    if pull.spoken is not None:
        share = float(dots(part(candidate.vector)[np.newaxis], pull.spoken.addend)[0])
        shares.append(EventShare(QUERY, None, pull.spoken.text, QUERY, share))
    left = candidate.score - candidate.prior - math.fsum(share.share for share in shares)
    if abs(left) > TOLERANCE * max(abs(candidate.score), 1.0):
        shares.append(EventShare(UNATTRIBUTED, None, None, UNATTRIBUTED, left))
    told = sorted((s for s in shares if s.share), key=lambda s: (-abs(s.share), s.event_id))
    return Evidence(tuple(told), candidate.prior)


def part(part: T | None) -> T:
    """What an answer with parts must hold."""
    if part is None:
        raise TypeError("an answer with parts came without them")
    return part
