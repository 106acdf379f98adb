"""Item texts, tags and numbers in, taste vectors for items without events out.

A ridge regression from an item's features to its learned [q, p], each learned item counting by how
many users liked it: an attribute-to-feature mapping (Gantner et al. 2010). Features are the text
vector without its mean, one column a tag that several items share, scaled by inverse document
frequency, the same for the words of its passage, and numbers in units of their deviation.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp

from llmrec_ray.learning.taste import Taste
from llmrec_ray.types import Float32s, Float64s, Ints

FEWEST_ITEMS = 3
"""A tag or word of fewer items is no feature: little can be learned from it."""

MOST_TAGS = 2048
"""The most frequent tags and words are kept: the cost grows with the square of their number."""

FARTHEST = 3.0
NUMBERS_TO_TEXT = 0.1
"""A number's deviations are cut at `FARTHEST`, and scaled to the size of a text feature."""


def features(
    text: Float32s,
    tags: Sequence[Sequence[str]],
    words: Sequence[Sequence[str]],
    numbers: Float64s,
) -> sp.csr_matrix:
    """Sparse float32 [items, features], from a Content's parts: see `train.Content`.

    A missing number, NaN, counts as the mean.
    """
    in_deviations = np.nan_to_num(np.clip(numbers, -FARTHEST, FARTHEST)) * NUMBERS_TO_TEXT
    parts = [text - text.mean(axis=0), in_deviations, np.ones((len(text), 1))]
    dense = sp.csr_matrix(np.concatenate(parts, axis=1))
    return sp.csr_matrix(sp.hstack([dense, _rare(tags), _rare(words)]), dtype=np.float32)


def with_cold(learned: Taste, counts: Ints, found: sp.csr_matrix, ridge: float) -> Taste:
    """The learned vectors, and predicted ones where `counts`, users of each item, is 0."""
    warm, cold = np.flatnonzero(counts > 0), np.flatnonzero(counts == 0)
    if not len(warm) or not len(cold):
        return learned
    both = np.concatenate([learned.context, learned.target], axis=1)
    known = found[warm]
    weighted = sp.diags(counts[warm].astype(np.float32)) @ known
    inner = (known.T @ weighted).toarray().astype(np.float64)
    inner[np.diag_indices(len(inner))] += ridge * counts[warm].mean()
    mapping = sl.solve(inner, weighted.T @ both[warm], assume_a="pos", check_finite=False)
    both[cold] = found[cold] @ mapping.astype(np.float32)
    dim = learned.context.shape[1]
    return Taste(both[:, :dim].copy(), both[:, dim:].copy())


def _rare(tags: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """TF-IDF over the tags that enough items have, each item's row of length 1."""
    owners = [(row, tag) for row, of_item in enumerate(tags) for tag in dict.fromkeys(of_item)]
    names, codes, counts = np.unique(
        np.array([tag for _, tag in owners], dtype=np.str_), return_inverse=True, return_counts=True
    )
    common = np.flatnonzero(counts >= FEWEST_ITEMS)
    common = common[np.argsort(-counts[common], kind="stable")][:MOST_TAGS]
    column = np.full(len(names), -1, np.int64)
    column[common] = np.arange(len(common))
    rows = np.array([row for row, _ in owners], np.int64)
    kept = column[codes] >= 0
    rarity = np.log(len(tags) / counts[codes[kept]])
    matrix = sp.csr_matrix(
        (rarity, (rows[kept], column[codes[kept]])), shape=(len(tags), len(common))
    )
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = 1.0 / np.maximum(lengths, np.finfo(np.float64).tiny)
    return sp.csr_matrix(sp.diags(scale) @ matrix, dtype=np.float32)
