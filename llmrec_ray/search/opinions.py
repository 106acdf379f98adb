"""What reviews say in, their addends to the query vector and their shares out: text space alone."""

from collections.abc import Sequence

import numpy as np

from llmrec_ray.search.arithmetic import dots
from llmrec_ray.search.exact import text_addend
from llmrec_ray.types import Float32s, Float64s, Mix, Opinion, WeightedEvent


def opinions_vector(opinions: Sequence[Opinion], mix: Mix, taste_dim: int, dim: int) -> Float64s:
    """Σ w [0 ; γ t] over what the reviews say, float64 [dim]; `dim` counts taste and text."""
    total = np.zeros(dim)
    for opinion in opinions:
        total += _addend(opinion, mix, taste_dim)
    return total


def opinion_shares(
    opinions: Sequence[Opinion],
    events: Sequence[WeightedEvent],
    targets: Float32s,
    mix: Mix,
    taste_dim: int,
) -> Float64s:
    """What each event adds to each target [p ; t] by what it says, float64 [events, targets]."""
    shares = np.zeros((len(events), len(targets)))
    place = {event.event_id: at for at, event in enumerate(events)}
    for opinion in opinions:
        shares[place[opinion.event_id]] += dots(targets, _addend(opinion, mix, taste_dim))
    return shares


def _addend(opinion: Opinion, mix: Mix, taste_dim: int) -> Float64s:
    vector = np.frombuffer(opinion.reading.vector, "<f4")
    return text_addend(vector, opinion.weight, mix, taste_dim)
