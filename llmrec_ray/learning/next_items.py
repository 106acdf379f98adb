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

from llmrec_ray.learning.moments import HEAD, Moments, head_size
from llmrec_ray.types import Float32s, Float64s, Ints

BLOCK_NUMBERS = 2**25
"""Numbers of the head's rows that are worked on at once: bounds what is there beside them."""


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

    def row(self, source: int, targets: Ints) -> Float32s:
        """W[source, targets], float32 [targets]."""
        if source < len(self.head):
            return self.head[source, targets]
        low = source - len(self.head)
        shared, follows = _entries(self.shared, low), _entries(self.follows, low)
        pulled = shared[1] @ self.head[np.ix_(shared[0], targets)]
        led = np.zeros(len(self.codes), np.float32)
        led[follows[0]] = follows[1]
        return self.damping[low] * (led[targets] - pulled)

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
    diagonal = found.past.diagonal().astype(np.float64)
    liked = diagonal + np.asarray(found.next.sum(axis=0)).ravel()
    codes = np.flatnonzero(liked)
    codes = codes[np.argsort(-diagonal[codes], kind="stable")]
    past, following = among(found.past, codes), among(found.next, codes)
    penalty = penalty_of(diagonal[codes], ridge)
    heads = head_size(len(codes), most)
    damping = (1.0 / (diagonal[codes[heads:]] + penalty)).astype(np.float32)
    inner = past[:heads, :heads].toarray()
    inner[np.diag_indices(heads)] += penalty
    wanted = _wanted(past[:heads, heads:], damping, following)
    return NextItems(
        codes=codes,
        head=_solved(inner, wanted),
        damping=damping,
        follows=following[heads:],
        shared=past[heads:, :heads],
    )


def _wanted(shared: sp.csr_matrix, damping: Float32s, following: sp.csr_matrix) -> Float32s:
    """The head's right side, Y_h - X_ht (diag X_tt + λ)⁻¹ Y_t, float32 [h, m] by columns."""
    heads, items = shared.shape[0], following.shape[1]
    wanted = np.empty((heads, items), np.float32, order="F")
    damped = sp.csr_matrix(sp.diags(damping) @ following[heads:])
    step = max(1, BLOCK_NUMBERS // max(items, 1))
    for start in range(0, heads, step):
        rows = slice(start, min(start + step, heads))
        wanted[rows] = (following[rows] - shared[rows] @ damped).toarray()
    return wanted


def penalty_of(diagonal: Float64s, ridge: float) -> float:
    """λ, relative to the mean of the diagonal, so that it fits catalogues of any size."""
    return ridge * float(diagonal.mean()) if len(diagonal) else ridge


def _entries(matrix: sp.csr_matrix, row: int) -> tuple[Ints, Float32s]:
    span = slice(int(matrix.indptr[row]), int(matrix.indptr[row + 1]))
    return matrix.indices[span].astype(np.int64), matrix.data[span]


def among(matrix: sp.csr_matrix, codes: Ints) -> sp.csr_matrix:
    """The rows and columns `codes`, in that order; these rows have no other columns."""
    rows = sp.csr_matrix(matrix[codes])
    place = np.zeros(matrix.shape[1], np.int32)
    place[codes] = np.arange(len(codes))
    shape = (len(codes), len(codes))
    return sp.csr_matrix((rows.data, place[rows.indices], rows.indptr), shape=shape)


def _solved(inner: Float32s, wanted: Float32s) -> Float32s:
    """Solve in place where float32 is precise enough, else in float64, a part of columns a time."""
    if not len(inner):
        return wanted
    try:
        factor = sl.cho_factor(inner, check_finite=False)
        return sl.cho_solve(factor, wanted, overwrite_b=True, check_finite=False)
    except np.linalg.LinAlgError:
        exact = sl.cho_factor(inner.astype(np.float64), check_finite=False)
    step = max(1, BLOCK_NUMBERS // (2 * len(inner)))
    for start in range(0, wanted.shape[1], step):
        part = slice(start, start + step)
        wanted[:, part] = sl.cho_solve(exact, wanted[:, part], check_finite=False)
    return wanted
