"""Moments in, the linear map from a history to what comes next out: a ridge regression.

W minimises Σ_t ‖y_t - x_tᵀ W‖² + λ ‖W‖², so W = (X + λ I)⁻¹ Y for the moments X = Σ x xᵀ and
Y = Σ x yᵀ. This is EASE (Steck 2019) with the future as its target instead of the whole history.

The system is solved exactly among the `head` items with the largest moments. An item of the tail
shares few users with other tail items, so its row is one Gauss-Seidel step from there:
W_t = (diag X_tt + λ)⁻¹ (Y_t - X_th W_h). With every item in the head the solution is exact.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp

from llmrec_ray.learning.moments import Moments
from llmrec_ray.types import Float32s, Float64s, Ints

HEAD = 4096
HEAD_NUMBERS = 2**28
"""Numbers of float32 that the head's rows may take (1 GiB): with more items the head shrinks."""


@dataclass(frozen=True, slots=True)
class NextItems:
    """W by blocks, over the m items that were liked at all; its rows are sources, columns targets.

    `codes` int64 [m] are the items of rows and columns, the head first; `head` float32 [h, m];
    the tail's rows are `damping` · (`follows` - `shared` · `head`): [t], sparse [t, m] and [t, h].
    """

    codes: Ints
    head: Float32s
    damping: Float32s
    follows: sp.csr_matrix
    shared: sp.csr_matrix

    def rows(self, start: int, stop: int) -> Float32s:
        """Rows start … stop of W, float32 [stop - start, m]."""
        top = self.head[start:stop]
        low = slice(max(start - len(self.head), 0), max(stop - len(self.head), 0))
        tail = self.follows[low].toarray() - self.shared[low] @ self.head
        return np.concatenate([top, self.damping[low, np.newaxis] * tail])

    def dot(self, right: Float32s) -> Float32s:
        """W @ right, float32 [m, n]."""
        top = self.head @ right
        tail = self.follows @ right - self.shared @ top
        return np.concatenate([top, self.damping[:, np.newaxis] * tail])

    def scores(self, histories: sp.csr_matrix) -> Float32s:
        """x W for sparse histories x [n, m], float32 [n, m]."""
        heads = len(self.head)
        tail = (histories[:, heads:] @ sp.diags(self.damping)).astype(np.float32)
        top = (histories[:, :heads] - tail @ self.shared).astype(np.float32)
        return np.asarray(top @ self.head + (tail @ self.follows).toarray(), np.float32)

    def transposed_dot(self, right: Float32s) -> Float32s:
        """Wᵀ @ right, float32 [m, n]."""
        heads = len(self.head)
        tail = self.damping[:, np.newaxis] * right[heads:]
        return self.head.T @ (right[:heads] - self.shared.T @ tail) + self.follows.T @ tail


def solve(found: Moments, ridge: float, most: int = HEAD) -> NextItems:
    """W for λ = ridge · the mean of X's diagonal, over items that occur in the moments."""
    diagonal = found.past.diagonal()
    liked = diagonal + np.asarray(found.next.sum(axis=0)).ravel()
    codes = np.flatnonzero(liked)
    codes = codes[np.argsort(-diagonal[codes], kind="stable")]
    past, following = _among(found.past, codes), _among(found.next, codes)
    penalty = penalty_of(diagonal[codes], ridge)
    heads = min(most, len(codes), max(1, HEAD_NUMBERS // max(len(codes), 1)))
    damping = 1.0 / (diagonal[codes[heads:]] + penalty)
    pulled = past[:heads, heads:] @ (sp.diags(damping) @ following[heads:])
    inner = past[:heads, :heads].toarray().astype(np.float32)
    inner[np.diag_indices(heads)] += penalty
    wanted = (following[:heads] - pulled).toarray().astype(np.float32)
    return NextItems(
        codes=codes,
        head=_solved(inner, wanted),
        damping=damping.astype(np.float32),
        follows=following[heads:].astype(np.float32),
        shared=past[heads:, :heads].astype(np.float32),
    )


def penalty_of(diagonal: Float64s, ridge: float) -> float:
    """λ, relative to the mean of the diagonal, so that it fits catalogues of any size."""
    return ridge * float(diagonal.mean()) if len(diagonal) else ridge


def _among(matrix: sp.csr_matrix, codes: Ints) -> sp.csr_matrix:
    return sp.csr_matrix(matrix[codes][:, codes])


def _solved(inner: Float32s, wanted: Float32s) -> Float32s:
    if not len(inner):
        return wanted
    factor = sl.cho_factor(inner, overwrite_a=True, check_finite=False)
    return sl.cho_solve(factor, wanted, overwrite_b=True, check_finite=False)
