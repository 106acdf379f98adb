"""A delta that grew by any changes answers, bit for bit, as one that is made of them at once."""

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec_ray.items.log import ItemChange
from llmrec_ray.search import exact
from llmrec_ray.search.delta import Delta, delta_of, extended
from llmrec_ray.search.growing import Growing
from llmrec_ray.search.segment import Rows
from llmrec_ray.types import (
    AnyOf,
    Candidate,
    Float32s,
    Item,
    Mix,
    NearQuery,
    Scope,
    ScoreQuery,
    WeightedEvent,
)
from tests.unit.search.conftest import DIM, DIMS

ENCODER = "encoder"
MIX = Mix(neighbours=1.0, taste=0.7, text=0.4, prior=0.3, prior_fade=2.0, query=1.0)
IDS = st.sampled_from([f"i{n:03}" for n in range(0, 40, 5)] + [f"n{n}" for n in range(6)])
KINDS = st.sampled_from(["put", "put", "put", "delete", "strange"])
BATCHES = st.lists(
    st.dictionaries(IDS, st.tuples(KINDS, st.integers(0, 9)), max_size=4), max_size=9
)
PEOPLE = [f"i{n:03}" for n in range(0, 60, 3)] + ["n1"]


def vector(seed: int) -> Float32s:
    made = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return (made / np.linalg.norm(made)).astype(np.float32)


def change(seq: int, item_id: str, kind: str, seed: int) -> ItemChange:
    if kind == "delete":
        return ItemChange(seq, item_id, seq, None)
    item = Item(item_id, f"Title {seed}", {"country": "Peru" if seed % 2 else "France"})
    encoder = ENCODER if kind == "put" else "another"
    return ItemChange(seq, item_id, seq, item, vector(seed).tobytes(), encoder)


def grown(base: Rows, batches: Sequence[dict[str, ItemChange]]) -> list[Delta]:
    """The delta after each batch."""
    deltas = [delta_of(base, {}, 0, ENCODER)]
    for position, batch in enumerate(batches, start=1):
        deltas.append(extended(deltas[-1], base, batch, position, ENCODER))
    return deltas


def told(found: list[list[Candidate]]) -> list[object]:
    """Everything that candidates say, in comparable values."""
    return [
        (
            one.item_id,
            one.title,
            one.score,
            one.prior,
            None if one.neighbour_shares is None else one.neighbour_shares.tolist(),
            None if one.vector is None else one.vector.tolist(),
        )
        for candidates in found
        for one in candidates
    ]


def answers(delta: Delta) -> list[object]:
    """What a shard would say of the live items, whatever it is asked."""
    rows = delta.rows
    if not len(rows):
        return []
    events = [WeightedEvent(f"e{n}", one, "like", 1.0 / (n + 1)) for n, one in enumerate(PEOPLE)]
    query = np.random.default_rng(3).normal(size=DIMS)
    scopes = [
        Scope(3),
        Scope(50, exclude=frozenset({"n1", "i005"})),
        Scope(50, AnyOf("country", ("Peru",))),
    ]
    additive = [ScoreQuery(tuple(events), query, 0.5, scope, with_parts=True) for scope in scopes]
    nearest = [
        NearQuery(vector(77), metric, scope)
        for scope in scopes
        for metric in ("cosine", "dot", "euclidean")
    ]
    return [
        *told(exact.score(rows, additive, MIX, delta.allowed)),
        *told(exact.near(rows, nearest, delta.allowed)),
        exact.gather(rows, events, MIX).tolist(),
        {one: (rows.item(row), rows.text[row].tolist()) for one, row in delta.row_of.items()},
    ]


def says(delta: Delta) -> tuple[object, ...]:
    return (
        delta.position,
        dict(delta.changes),
        sorted(delta.hidden.tolist()),
        delta.strange,
        delta.alive,
        answers(delta),
    )


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=BATCHES)
def test_a_delta_grown_by_any_changes_answers_as_one_made_at_once(
    rows: Callable[..., Rows], batches: list[dict[str, tuple[str, int]]]
) -> None:
    base = rows(60)
    applied = [
        {one: change(position, one, *what) for one, what in batch.items()}
        for position, batch in enumerate(batches, start=1)
    ]
    everything: dict[str, ItemChange] = {}
    for position, delta in enumerate(grown(base, applied)):
        everything |= applied[position - 1] if position else {}
        assert says(delta) == says(delta_of(base, everything, position, ENCODER))


def test_what_was_seen_of_a_delta_stays_while_it_grows_twice(rows: Callable[..., Rows]) -> None:
    base = rows(60)
    first = grown(base, [{one: change(1, one, "put", n)} for n, one in enumerate(("n1", "i005"))])
    before = [says(delta) for delta in first]
    one_way = extended(first[-1], base, {"n2": change(3, "n2", "put", 5)}, 3, ENCODER)
    seen = says(one_way)
    another = extended(first[-1], base, {"n3": change(3, "n3", "put", 6)}, 3, ENCODER)
    assert [says(delta) for delta in first] == before
    assert says(one_way) == seen
    assert another.row_of.keys() == {"n1", "i005", "n3"}


def test_an_item_that_changes_for_ever_leaves_few_dead_rows(rows: Callable[..., Rows]) -> None:
    base = rows(60)
    batches = [{"n1": change(seq, "n1", "put", seq)} for seq in range(1, 200)]
    assert max(len(delta.rows) for delta in grown(base, batches)) <= 3


def test_a_row_that_is_appended_copies_no_other(rows: Callable[..., Rows]) -> None:
    base = rows(60)
    deltas = grown(base, [{f"n{n}": change(n, f"n{n}", "put", n)} for n in range(1, 400)])
    homes = {id(delta.columns.text.room) for delta in deltas}
    assert len(homes) <= 10  # the room doubles
    assert max(delta.rows.items[0].num_chunks for delta in deltas) <= 10
    assert deltas[-1].row_of.keys() == {f"n{n}" for n in range(1, 400)}


def test_an_empty_block_changes_nothing() -> None:
    growing = Growing(np.ones((2, 3), np.float32))
    assert growing.with_block(np.zeros((0, 3), np.float32)) is growing
