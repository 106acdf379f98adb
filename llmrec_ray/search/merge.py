"""Ranked lists of several shards in, one ranked list out."""

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice

from llmrec_ray.types import Candidate


def merge(lists: Iterable[Sequence[Candidate]], limit: int) -> tuple[Candidate, ...]:
    """The best `limit` of lists that are each sorted: larger score first, ties by item id."""
    best = heapq.merge(*lists, key=lambda candidate: (-candidate.score, candidate.item_id))
    return tuple(islice(best, limit))
