"""Item texts, tags and numbers in, taste vectors for items without events out.

A ridge regression from an item's features to its learned [q, p], each learned item counting by how
many users liked it: an attribute-to-feature mapping (Gantner et al. 2010). Features are the text
vector without its mean, one column a tag that several items share, scaled by inverse document
frequency, the same for the words of its passage, and numbers in units of their deviation.
"""

from array import array
from collections.abc import Iterable

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp

from llmrec_ray.learning.taste import Taste
from llmrec_ray.types import Float32s, Float64s, Ints

FEWEST_ITEMS = 3
"""A tag or word of fewer items is no feature: little can be learned from it."""

MOST_TAGS = 2048
"""The most frequent tags and words are kept: the cost grows with the square of their number."""

AT_ONCE = 8_192
"""Cold items whose features are in memory at once: they take several times what the items take."""

FARTHEST = 3.0
NUMBERS_TO_TEXT = 0.1
"""A number's deviations are cut at `FARTHEST`, and scaled to the size of a text feature."""


class Features:
    """The features of items, from a Content's parts: see `train.Content`."""

    def __init__(
        self,
        text: Float32s,
        tags: Iterable[Iterable[str]],
        words: Iterable[Iterable[str]],
        numbers: Float64s,
    ) -> None:
        self._text = text
        self._mean = text.mean(axis=0)
        self._numbers = numbers
        self._rare = [_rare(tags, len(text)), _rare(words, len(text))]

    def of(self, rows: Ints) -> sp.csr_matrix:
        """Sparse float32 [rows, features]; a missing number, NaN, counts as the mean."""
        numbers = np.clip(self._numbers[rows], -FARTHEST, FARTHEST)
        in_deviations = np.nan_to_num(numbers) * NUMBERS_TO_TEXT
        parts = [self._text[rows] - self._mean, in_deviations, np.ones((len(rows), 1))]
        dense = sp.csr_matrix(np.concatenate(parts, axis=1))
        rare = [matrix[rows] for matrix in self._rare]
        return sp.csr_matrix(sp.hstack([dense, *rare]), dtype=np.float32)


def with_cold(learned: Taste, counts: Ints, found: Features, ridge: float) -> Taste:
    """The learned vectors, and predicted ones where `counts`, users of each item, is 0."""
    warm, cold = np.flatnonzero(counts > 0), np.flatnonzero(counts == 0)
    if not len(warm) or not len(cold):
        return learned
    both = np.concatenate([learned.context, learned.target], axis=1)
    known = found.of(warm)
    weighted = sp.diags(counts[warm].astype(np.float32)) @ known
    inner = (known.T @ weighted).toarray().astype(np.float64)
    inner[np.diag_indices(len(inner))] += ridge * counts[warm].mean()
    mapping = sl.solve(inner, weighted.T @ both[warm], assume_a="pos", check_finite=False)
    for start in range(0, len(cold), AT_ONCE):
        some = cold[start : start + AT_ONCE]
        both[some] = found.of(some) @ mapping.astype(np.float32)
    dim = learned.context.shape[1]
    return Taste(both[:, :dim].copy(), both[:, dim:].copy())


def _rare(tags: Iterable[Iterable[str]], items: int) -> sp.csr_matrix:
    """TF-IDF over the tags that enough items have, each item's row of length 1."""
    code_of: dict[str, int] = {}
    owned, ends = array("i"), array("q", [0])
    for of_item in tags:
        owned.extend(code_of.setdefault(tag, len(code_of)) for tag in dict.fromkeys(of_item))
        ends.append(len(owned))
    codes = np.array(owned, np.int32)
    counts = np.bincount(codes, minlength=len(code_of))
    common = [tag for tag, code in code_of.items() if counts[code] >= FEWEST_ITEMS]
    common = sorted(common, key=lambda tag: (-counts[code_of[tag]], tag))[:MOST_TAGS]
    column = np.full(len(code_of), -1, np.int32)
    column[[code_of[tag] for tag in common]] = np.arange(len(common))
    rows = np.repeat(np.arange(items, dtype=np.int32), np.diff(ends))
    kept = column[codes] >= 0
    rarity = np.log(items / counts[codes[kept]])
    matrix = sp.csr_matrix((rarity, (rows[kept], column[codes[kept]])), shape=(items, len(common)))
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = 1.0 / np.maximum(lengths, np.finfo(np.float64).tiny)
    return sp.csr_matrix(sp.diags(scale) @ matrix, dtype=np.float32)
