"""Interactions in, second moments of "what was liked" against "what was liked next" out.

At position t of a user's history, x_t is the history so far, each item with its weight times
recency^(how many newer ones), and y_t is what comes next, each item with its weight divided by its
distance, up to `window` items ahead. The moments are Σ x_t x_tᵀ and Σ x_t y_tᵀ over all users and
positions. To the second one `company` times every pair of a user's items is added, in both
directions: what goes together, whenever. Both are sums over pairs of one user's items at a distance
d, so no x_t is ever built.

They are made by blocks of rows, each block from all entries of its items, so that a block is done
when it is made and what is not worth keeping goes at once (see `PAIRS`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from llmrec_ray.learning.blocks import Block, Spread, blocks_of, here
from llmrec_ray.learning.interactions import Interactions, newer
from llmrec_ray.types import Bools, Float64s, Ints

NEGLIGIBLE = 1e-3
"""Pairs whose factor recency^d falls below this are left out, and …"""

FARTHEST = 40
"""… so are pairs farther apart than this: the number of pairs grows with it."""

HEAD = 4096
HEAD_NUMBERS = 2**28
"""Numbers of float32 that the head's rows may take (1 GiB): with more items the head shrinks."""

PAIRS = 2**24
"""Pairs of all items outside the head: each keeps its PAIRS / items largest, as source.

Up to 4,096 items that is every pair, and on catalogues of some ten thousand items nearly always.
`past` stays symmetric: a pair is kept where one of its two items keeps it.
"""

HEAD_PAIRS = 2**27
"""Pairs of `next` whose source is in the head, shared out alike (1 GiB): up to 32,768 items all."""

AT_ONCE = 2**22
"""Pairs in memory before those of the same two items are joined, about 24 bytes each."""


@dataclass(frozen=True, slots=True)
class Moments:
    """`past` = Σ x xᵀ (symmetric) and `next` = Σ x yᵀ, sparse float32 [items, items]."""

    past: sp.csr_matrix
    next: sp.csr_matrix


@dataclass(frozen=True, slots=True)
class Indexed:
    """What every block reads: interactions, and where each item's entries are.

    `order` int64 [entries] lists entries by item, those of item i from starts[i] on; `after` counts
    the user's newer entries; `head` bool [items] marks items solved exactly; each other source
    keeps `most` pairs, and one of the head `most_of_head` of `next`, and of `past` the whole head.
    """

    data: Interactions
    order: Ints
    starts: Ints
    after: Float64s
    head: Bools
    most: int
    most_of_head: int
    recency: float
    window: int
    company: float
    reach: int


def moments(
    data: Interactions, *, recency: float, window: int, company: float, spread: Spread = here
) -> Moments:
    """The moments of all users; users with one item add nothing, since nothing followed."""
    common = indexed(data, recency=recency, window=window, company=company)
    pairs = np.diff(common.starts) * (2.0 * common.reach + 1)
    made = list(spread(rows_of, common, blocks_of(pairs, AT_ONCE)))
    past = _stacked([block.past for block in made], data.item_count)
    following = _stacked([block.next for block in made], data.item_count)
    return Moments(sp.csr_matrix(past.maximum(past.T)), following)


def _stacked(blocks: list[sp.csr_matrix], items: int) -> sp.csr_matrix:
    return sp.csr_matrix(sp.vstack(blocks) if blocks else sp.csr_matrix((0, items)))


def indexed(data: Interactions, *, recency: float, window: int, company: float) -> Indexed:
    """What the blocks of `moments` need."""
    after = newer(data.users, data.user_count).astype(np.float64)
    squares = data.weights**2 * _positions(after, recency)
    diagonal = np.bincount(data.items, squares, minlength=data.item_count)
    lasting = np.bincount(data.users, minlength=data.user_count) > 1
    known = int(np.count_nonzero(np.bincount(data.items[lasting[data.users]])))
    head = np.zeros(data.item_count, np.bool_)
    head[np.argsort(-diagonal, kind="stable")[: head_size(known)]] = True
    counts = np.bincount(data.items, minlength=data.item_count)
    return Indexed(
        data,
        order=np.argsort(data.items, kind="stable"),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        after=after,
        head=head,
        most=PAIRS // max(data.item_count, 1),
        most_of_head=HEAD_PAIRS // max(head_size(known), 1),
        recency=recency,
        window=window,
        company=company,
        reach=_reach(recency, data),
    )


def head_size(items: int, most: int = HEAD) -> int:
    """How many items are solved exactly, of `items` that occur."""
    return min(most, items, max(1, HEAD_NUMBERS // max(items, 1)))


def rows_of(common: Indexed, block: Block) -> Moments:
    """The rows start … stop of both moments, pruned, [stop - start, items]."""
    start, stop = block
    entries = common.order[common.starts[start] : common.starts[stop]]
    step = max(1, AT_ONCE // (2 * common.reach + 1))
    shape = (stop - start, common.data.item_count)
    past, following = (sp.csr_matrix(shape) for _ in range(2))
    for first in range(0, len(entries), step):
        part = entries[first : first + step]
        adds = _sums(common, part, start)
        past = past + _joined(adds.past, shape)
        following = following + _joined(adds.next, shape)
    head = common.head[start:stop]
    whole = np.where(head, common.data.item_count, common.most)
    among = common.head if not common.head.all() else None
    limits = np.where(head, common.most_of_head, common.most)
    return Moments(
        _pruned(past, whole, head=head, among=among), _pruned(following, limits, head=head)
    )


Triplets = tuple[NDArray[np.int32], NDArray[np.int32], Float64s]
"""Rows, columns and what is to be added there."""


@dataclass(frozen=True, slots=True)
class _Adds:
    """What entries add to the rows of their items, piece by piece."""

    past: list[Triplets]
    next: list[Triplets]


def _sums(common: Indexed, entries: Ints, start: int) -> _Adds:
    """Of all pairs of an entry with what its user had before and after it."""
    data, recency = common.data, common.recency
    adds = _Adds([], [])
    for step in (1, -1):
        for distance, own, other in _pairs(common, entries, step):
            if step < 0 and not distance:
                continue
            rows = (data.items[own] - start).astype(np.int32)
            columns = data.items[other].astype(np.int32)
            both = data.weights[own] * data.weights[other]
            later = other if step > 0 else own
            seen = both * recency**distance * _positions(common.after[later], recency)
            adds.past.append((rows, columns, seen))
            if distance:
                kernel = _kernel(distance, recency, common.window) if step > 0 else 0.0
                adds.next.append((rows, columns, both * (kernel + common.company)))
    return adds


def _pairs(common: Indexed, entries: Ints, step: int) -> Iterator[tuple[int, Ints, Ints]]:
    """For each distance, the entries and those of the same user that far later (step 1) or older.

    An entry without a partner has none farther away, so it is looked at no more.
    """
    users = common.data.users
    for distance in range(common.reach + 1):
        others = entries + step * distance
        inside = (others >= 0) & (others < len(users))
        entries, others = entries[inside], others[inside]
        same = users[entries] == users[others]
        entries, others = entries[same], others[same]
        if not len(entries):
            return
        yield distance, entries, others


def _joined(parts: list[Triplets], shape: tuple[int, int]) -> sp.csr_matrix:
    if not parts:
        return sp.csr_matrix(shape)
    rows, columns, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sp.csr_matrix((values, (rows, columns)), shape=shape)


def _pruned(
    rows: sp.csr_matrix, most: Ints, *, head: Bools, among: Bools | None = None
) -> sp.csr_matrix:
    """The largest values of each row, as many as `most` says, float32; head rows only `among`."""
    lengths = np.diff(rows.indptr)
    kept = np.ones(rows.nnz, np.bool_)
    if among is not None:
        kept = among[rows.indices] | ~np.repeat(head, lengths)
    for row in np.flatnonzero(lengths > most):
        span = slice(int(rows.indptr[row]), int(rows.indptr[row + 1]))
        kept[span] = largest(rows.data[span], int(most[row]))
    values = rows.data.astype(np.float32)
    if kept.all():
        return sp.csr_matrix((values, rows.indices, rows.indptr), shape=rows.shape)
    ends = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    return sp.csr_matrix((values[kept], rows.indices[kept], ends), shape=rows.shape)


def largest(values: NDArray[np.floating], most: int) -> Bools:
    """Which are the `most` largest, the first of equal ones."""
    if len(values) <= most:
        return np.ones(len(values), np.bool_)
    if not most:
        return np.zeros(len(values), np.bool_)
    least = np.partition(values, len(values) - most)[len(values) - most]
    above = values > least
    equal = np.flatnonzero(values == least)[: most - int(np.count_nonzero(above))]
    above[equal] = True
    return above


def _reach(recency: float, data: Interactions) -> int:
    longest = int(np.bincount(data.users).max(initial=1)) - 1
    fades = FARTHEST if recency >= 1 else int(np.log(NEGLIGIBLE) / np.log(recency))
    return min(longest, fades, FARTHEST)


def _positions(after: Float64s, recency: float) -> Float64s:
    """Σ recency^2s over the s = 0 … after - 1 positions at which both items are in the past."""
    if recency >= 1:
        return after
    return (1 - recency ** (2 * after)) / (1 - recency**2)


def _kernel(distance: int, recency: float, window: int) -> float:
    """Σ recency^s / (distance - s): the later item is next but (distance - s - 1) after s steps."""
    nearest = max(0, distance - window)
    return sum(recency**steps / (distance - steps) for steps in range(nearest, distance))
