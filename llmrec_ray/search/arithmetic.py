"""Order-free arithmetic: the same sums bit for bit, whatever the order, batch or shards.

Terms are rounded to a grid of powers of two before they are added in float64. As long as a sum
stays below 2^53 grid steps every partial sum is exact, so addition is associative: 2^23 for
gathered vectors, 2^13 for dot products.
"""

import numpy as np

from llmrec_ray.types import Float32s, Float64s

GATHER_STEP = 2.0**-30
DOT_STEP = 2.0**-40


def on_grid(values: Float64s) -> Float64s:
    """Values of any shape, each rounded to the gather grid (error ≤ 2^-31)."""
    return np.rint(values / GATHER_STEP) * GATHER_STEP


def dots(rows: Float32s, vector: Float64s) -> Float64s:
    """Dot products of rows float32 [n, dim] with a vector float64 [dim], float64 [n], order-free.

    Each product is rounded to 2^-40, so the error is at most dim · 2^-41.
    """
    products = rows.astype(np.float64) * vector
    return np.rint(products / DOT_STEP).sum(axis=1) * DOT_STEP


def dot_error(dim: int, norm: float) -> float:
    """How far a float32 dot product can be from `dots`; `norm` is the product of both norms."""
    return dim * (2.0**-23 * norm + 2.0**-40)
