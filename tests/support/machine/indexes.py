"""Indexes of codes over catalogues as small as a model-based test has."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from llmrec_ray.search import index, scan


@contextmanager
def small_indexes() -> Generator[None]:
    """Dozens of rows train codebooks, and no filter is too selective for them.

    Fewer rows than an index is asked for are all found, so that answers are the exact ones.
    """
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(index, "CODED_FROM", 80)  # a head and a list, of at least 39 as faiss asks
        smaller.setattr(index, "FEW", 0)
        smaller.setattr(scan, "HEAD_LEAST", 39)
        yield
