"""The peers that ours is measured beside: what a team would try first, fitted in one process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from llmrec_ray.evaluation.als import Als
from llmrec_ray.evaluation.data import Catalog, Past, Ranker, System
from llmrec_ray.evaluation.ranking import Scored, popularity_of, pulls, taken
from llmrec_ray.evaluation.sasrec import INSTALL, Sasrec
from llmrec_ray.evaluation.splits import Protocol
from llmrec_ray.evaluation.textspace import tfidf
from llmrec_ray.types import Float64s

EASE_ITEMS = 20_000
"""Two dense float32 matrices of this size take 3.2 GB."""


@dataclass(frozen=True, slots=True)
class Popularity:
    """The items of the most users."""

    name: str = "popularity"

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        popular = popularity_of(taken(train, len(catalog)))
        return Scored(lambda pasts: np.tile(popular, (len(pasts), 1)), popular)


@dataclass(frozen=True, slots=True)
class ItemKnn:
    """Σ recency^age · cosine over each item's nearest (Sarwar et al. 2001), shrunk."""

    neighbours: int = 100
    shrinkage: float = 20.0
    recency: float = 0.7
    name: str = "item-knn"

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        seen = taken(train, len(catalog))
        near = cosines(seen, self.neighbours, self.shrinkage)
        return _additive(near, self.recency, popularity_of(seen))


@dataclass(frozen=True, slots=True)
class Transitions:
    """What was taken within `window` events after an item: Σ 1/distance, by how often it came."""

    window: int = 10
    recency: float = 0.85
    shrinkage: float = 20.0
    name: str = "transitions"

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        seen = taken(train, len(catalog))
        return _additive(
            follows(train, len(catalog), self.window, self.shrinkage),
            self.recency,
            popularity_of(seen),
        )


@dataclass(frozen=True, slots=True)
class Ease:
    """The closed-form item-item model of Steck 2019."""

    l2: float = 150.0
    recency: float = 0.95
    name: str = "ease"

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        seen = taken(train, len(catalog))
        gram = sp.csr_matrix(seen.T @ seen, dtype=np.float32).toarray()
        gram[np.diag_indices_from(gram)] += self.l2
        weights = np.linalg.inv(gram)
        weights /= -np.diag(weights)
        np.fill_diagonal(weights, 0.0)

        def scores(pasts: Sequence[Past]) -> Float64s:
            pull = pulls(pasts, len(catalog), self.recency).astype(np.float32)
            return np.asarray(pull @ weights, dtype=np.float64)

        return Scored(scores, popularity_of(seen))


@dataclass(frozen=True, slots=True)
class Text:
    """Nearest to the history's decayed mean: TF-IDF, or with the encoder's vectors added to it."""

    encoder: bool = False
    recency: float = 0.7

    @property
    def name(self) -> str:
        return "text" if self.encoder else "tf-idf"

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        words = tfidf(catalog.texts)
        vectors = catalog.vectors.astype(np.float64)

        def scores(pasts: Sequence[Past]) -> Float64s:
            pull = pulls(pasts, len(catalog), self.recency)
            found = standard(np.asarray((pull @ words @ words.T).toarray()))
            if self.encoder:
                found = found + standard(np.asarray(pull @ vectors) @ vectors.T)
            return found

        return Scored(scores, popularity_of(taken(train, len(catalog))))


def standard(scores: Float64s) -> Float64s:
    """Each row with mean 0 and deviation 1, so that scores of two models add up."""
    spread = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)


def cosines(seen: sp.csr_matrix, most: int, shrinkage: float) -> sp.csr_matrix:
    """Users in common / (√(n_i n_j) + shrinkage), the `most` largest of a row, [items, items]."""
    pairs = sp.coo_matrix(seen.T @ seen)
    counts = np.asarray(seen.sum(axis=0)).ravel()
    other = pairs.row != pairs.col
    rows, columns = pairs.row[other], pairs.col[other]
    values = pairs.data[other] / (np.sqrt(counts[rows] * counts[columns]) + shrinkage)
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < most
    return sp.csr_matrix((values[kept], (rows[kept], columns[kept])), shape=pairs.shape)


def follows(train: Sequence[Past], items: int, window: int, shrinkage: float) -> sp.csr_matrix:
    """Σ 1/d over users who took i as the d-th after j, by (count_j + shrinkage), [items, items]."""
    total = sp.csr_matrix((items, items))
    codes = np.concatenate([np.zeros(0, np.int64), *(past.codes for past in train)])
    users = np.repeat(np.arange(len(train)), [len(past) for past in train])
    for distance in range(1, window + 1):
        same = users[distance:] == users[:-distance]
        pairs = (codes[:-distance][same], codes[distance:][same])
        total = total + sp.csr_matrix((np.full(int(same.sum()), 1 / distance), pairs), total.shape)
    counts = np.bincount(codes, minlength=items) + shrinkage
    return sp.csr_matrix(sp.diags(1.0 / np.maximum(counts, 1.0)) @ total)


def _additive(weights: sp.csr_matrix, recency: float, popular: Float64s) -> Ranker:
    items = weights.shape[0]
    return Scored(
        lambda pasts: np.asarray((pulls(pasts, items, recency) @ weights).toarray()), popular
    )


def peers_of(
    protocol: Protocol, items: int, sasrec_python: Path | None = None
) -> tuple[tuple[System, ...], Mapping[str, str]]:
    """The peers that can answer a protocol, and those left out with the reason."""
    left_out: dict[str, str] = {}
    if protocol == "cold-items":
        if sasrec_python:
            left_out["sasrec"] = "it has no vector for an item without events"
        plain = (Text(recency=1.0), Text(encoder=True, recency=1.0))
        return (Popularity(), *plain), left_out
    systems: list[System] = [Popularity(), ItemKnn(), Transitions()]
    if items <= EASE_ITEMS:
        systems.append(Ease())
    else:
        left_out["ease"] = f"{items} items: it inverts a matrix of items², for {EASE_ITEMS} at most"
    if find_spec("implicit"):
        systems.append(Als())
    else:
        left_out["ials"] = "not installed: pip install implicit==0.7.3"
    if sasrec_python:
        systems.append(Sasrec(sasrec_python))
    else:
        left_out["sasrec"] = f"in an environment of its own: {INSTALL}"
    return (*systems, Text()), left_out
