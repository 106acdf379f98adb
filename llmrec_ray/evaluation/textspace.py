"""Texts come in, TF-IDF vectors go out: a text space that no encoder of ours had a part in."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

_WORD = re.compile(r"\w\w+")
LEAST_TEXTS = 2
"""A word of one text compares it with nothing."""


def tfidf(texts: Sequence[str]) -> sp.csr_matrix:
    """(1 + log tf) · (1 + log(n / df)), rows of length 1 or 0, float64 [texts, words]."""
    counted = [Counter(_WORD.findall(text.lower())) for text in texts]
    df = Counter(word for words in counted for word in words)
    column = {word: at for at, word in enumerate(sorted(w for w in df if df[w] >= LEAST_TEXTS))}
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, words in enumerate(counted):
        for word, count in words.items():
            if word in column:
                rows.append(row)
                columns.append(column[word])
                values.append((1 + np.log(count)) * (1 + np.log(len(texts) / df[word])))
    found = sp.csr_matrix((values, (rows, columns)), shape=(len(texts), len(column)))
    norms = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1.0 / np.where(norms > 0, norms, 1.0)) @ found)
