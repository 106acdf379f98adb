"""Interactions in, second moments of "what was liked" against "what was liked next" out.

At position t of a user's history, x_t is the history so far, each item with its weight times
recency^(how many newer ones), and y_t is what comes next, each item with its weight divided by its
distance, up to `window` items ahead. The moments are Σ x_t x_tᵀ and Σ x_t y_tᵀ over all users and
positions. Both are sums over pairs of one user's items at a distance d, so no x_t is ever built.

They are made by blocks of rows, each block from all entries of its items, so that a block is done
when it is made and what is not worth keeping goes at once (see `PAIRS`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from llmrec_ray.learning.blocks import Block, Spread, blocks_of, here
from llmrec_ray.learning.interactions import Interactions, newer
from llmrec_ray.types import Bools, Float32s, Float64s, Ints

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
    the user's newer entries; `head` bool [items] marks items whose rows are kept whole, other rows
    keep `most` pairs.
    """

    data: Interactions
    order: Ints
    starts: Ints
    after: Float64s
    head: Bools
    most: int
    recency: float
    window: int
    reach: int


def moments(data: Interactions, *, recency: float, window: int, spread: Spread = here) -> Moments:
    """The moments of all users; users with one item add nothing, since nothing followed."""
    common = indexed(data, recency=recency, window=window)
    pairs = np.diff(common.starts) * (2.0 * common.reach + 1)
    made = list(spread(rows_of, common, blocks_of(pairs, AT_ONCE)))
    past = _stacked([block.past for block in made], data.item_count)
    following = _stacked([block.next for block in made], data.item_count)
    return Moments(sp.csr_matrix(past.maximum(past.T)), following)


def _stacked(blocks: list[sp.csr_matrix], items: int) -> sp.csr_matrix:
    return sp.csr_matrix(sp.vstack(blocks) if blocks else sp.csr_matrix((0, items)))


def indexed(data: Interactions, *, recency: float, window: int) -> Indexed:
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
        recency=recency,
        window=window,
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
        past = past + _joined(_seen_together(common, part), start, shape)
        following = following + _joined(_led_to(common, part), start, shape)
    head = common.head[start:stop]
    beside = sp.csr_matrix(past, dtype=np.float32)
    if not common.head.all():
        beside = _pruned(beside, head, common.most, among=common.head)
    return Moments(beside, _pruned(sp.csr_matrix(following, dtype=np.float32), head, common.most))


Triplets = tuple[Ints, Ints, Float64s]


def _seen_together(common: Indexed, entries: Ints) -> Iterator[Triplets]:
    """Entries as rows, and what their users had before or after them, with what it adds to x xᵀ."""
    data, recency = common.data, common.recency
    for distance, older, later in _pairs(common, entries, 1):
        both = data.weights[older] * data.weights[later] * recency**distance
        value = both * _positions(common.after[later], recency)
        yield data.items[older], data.items[later], value
    for distance, later, older in _pairs(common, entries, -1):
        if distance:
            both = data.weights[older] * data.weights[later] * recency**distance
            value = both * _positions(common.after[later], recency)
            yield data.items[later], data.items[older], value


def _led_to(common: Indexed, entries: Ints) -> Iterator[Triplets]:
    """Entries as rows, and what came later, with what it adds to x yᵀ."""
    data = common.data
    for distance, older, later in _pairs(common, entries, 1):
        if distance:
            kernel = _kernel(distance, common.recency, common.window)
            both = data.weights[older] * data.weights[later]
            yield data.items[older], data.items[later], both * kernel


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


def _joined(pairs: Iterator[Triplets], start: int, shape: tuple[int, int]) -> sp.csr_matrix:
    parts = list(pairs)
    if not parts:
        return sp.csr_matrix(shape)
    rows, columns, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    places = ((rows - start).astype(np.int32), columns.astype(np.int32))
    return sp.csr_matrix((values, places), shape=shape)


def _pruned(
    rows: sp.csr_matrix, head: Bools, most: int, among: Bools | None = None
) -> sp.csr_matrix:
    """The `most` largest values of each row; head rows whole, or only with the columns `among`."""
    lengths = np.diff(rows.indptr)
    kept = np.ones(rows.nnz, np.bool_)
    if among is not None:
        kept = among[rows.indices] | ~np.repeat(head, lengths)
    for row in np.flatnonzero(~head & (lengths > most)):
        span = slice(int(rows.indptr[row]), int(rows.indptr[row + 1]))
        kept[span] = largest(rows.data[span], most)
    if kept.all():
        return rows
    ends = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    return sp.csr_matrix((rows.data[kept], rows.indices[kept], ends), shape=rows.shape)


def largest(values: Float32s, most: int) -> Bools:
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
