"""Indexes against the exact scorer: what is found, what never is, and that no score moves."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec_ray.schemas import taste_schema, vectors_schema
from llmrec_ray.search import exact
from llmrec_ray.search.candidates import FAR, pool, pulls_of
from llmrec_ray.search.index import CODED_FROM, FEW, SCAN_FROM, Index, Near, make_index
from llmrec_ray.search.segment import Rows, rows_of
from llmrec_ray.storage.columns import vectors_column
from llmrec_ray.types import (
    Bools,
    Float32s,
    Ints,
    Metric,
    Mix,
    NearQuery,
    Scope,
    ScoreQuery,
    WeightedEvent,
)
from tests.unit.search.conftest import tables

MIX = Mix(neighbours=0.4, taste=0.7, text=0.5, prior=0.3, prior_fade=2.0, query=10.0)
COUNT = 8_000
TEXT_DIM, TASTE_DIM = 96, 33  # odd together: codes take dimensions in pairs
LEAST = 0.995


@dataclass(frozen=True, slots=True)
class Indexed:
    rows: Rows
    index: Index

    def both(
        self, asked: list[ScoreQuery], allowed: exact.Allowed
    ) -> tuple[list[list[tuple[str, float]]], list[list[tuple[str, float]]]]:
        """Ids and scores: those of the oracle, those found through the index."""
        lists = (exact.score(self.rows, asked, MIX, allowed, index) for index in (None, self.index))
        true, found = ([[(c.item_id, c.score) for c in one] for one in each] for each in lists)
        return true, found


def trained(count: int = COUNT) -> Rows:
    """Shapes as encoders and training make them: texts in clusters, heavy-tailed taste norms."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(200, TEXT_DIM))
    text = centres[random.integers(0, 200, count)] + random.normal(size=(count, TEXT_DIM))
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    lengths = np.clip(0.075 * np.exp(1.36 * random.normal(size=count)), 0, 4.4)
    tastes = [random.normal(size=(count, TASTE_DIM)) / np.sqrt(TASTE_DIM) for _ in range(2)]
    context, target = ((lengths[:, None] * each).astype(np.float32) for each in tastes)
    part = tables(count)
    return rows_of(
        [
            replace(
                part,
                text=pa.table([vectors_column(text)], schema=vectors_schema(TEXT_DIM)),
                taste=pa.table(
                    [vectors_column(context), vectors_column(target)],
                    schema=taste_schema(TASTE_DIM),
                ),
            )
        ],
        np.zeros(TEXT_DIM),
    )


@pytest.fixture(scope="module")
def indexed() -> Indexed:
    rows = trained()
    index = make_index(rows, "scan")
    assert index is not None
    return Indexed(rows, index)


def asked_by(rows: Rows, seed: int, events: int = 5, limit: int = 10) -> ScoreQuery:
    random = np.random.default_rng(seed)
    history = tuple(
        WeightedEvent(f"e{n}", f"i{random.integers(len(rows)):03}", "like", float(weight))
        for n, weight in enumerate(random.uniform(-0.5, 1, events))
    )
    return ScoreQuery(history, exact.gather(rows, history, MIX), 0.2, Scope(limit))


def everything(rows: Rows) -> exact.Allowed:
    return lambda _: np.ones(len(rows), dtype=np.bool_)


def share_found(true: list[list[tuple[str, float]]], found: list[list[tuple[str, float]]]) -> float:
    hits = sum(len({*a} & {*b}) for a, b in zip(true, found, strict=True))
    return hits / sum(map(len, true))


@pytest.mark.parametrize("part", ["text", "taste", "mix", "one event"])
def test_an_index_finds_what_the_exact_scorer_finds_with_the_same_scores(
    indexed: Indexed, part: str
) -> None:
    asked = [asked_by(indexed.rows, seed, 1 if part == "one event" else 8) for seed in range(60)]
    if part in {"text", "taste"}:
        kept = np.arange(indexed.rows.dim) < TASTE_DIM
        kept = kept if part == "taste" else ~kept
        asked = [replace(query, vector=query.vector * kept, prior=0.0) for query in asked]
    true, found = indexed.both(asked, everything(indexed.rows))
    assert share_found(true, found) >= LEAST


def one_text(rows: Rows, seed: int, limit: int) -> ScoreQuery:
    """A text that is like some item's, and no history."""
    random = np.random.default_rng(seed)
    text = rows.text[random.integers(len(rows))] + 0.05 * random.normal(size=TEXT_DIM)
    vector = exact.text_addend(text.astype(np.float32), 1.0, MIX, TASTE_DIM)
    return ScoreQuery((), vector, 0.0, Scope(limit))


@pytest.mark.parametrize("prior", [0.0, 0.2])
def test_a_new_user_is_answered_whatever_a_filter_leaves(indexed: Indexed, prior: float) -> None:
    rows = indexed.rows
    nobody = ScoreQuery((), np.zeros(rows.dim), prior, Scope(300))
    unpopular = np.ones(COUNT, np.bool_)
    unpopular[rows.most_popular] = False
    assert unpopular.sum() > FEW
    for allowed in (np.ones(COUNT, np.bool_), unpopular):
        [true], [found] = indexed.both([nobody], lambda _, allowed=allowed: allowed)
        assert [score for _, score in found] == [score for _, score in true]


def test_texts_that_are_all_alike_are_found_nevertheless() -> None:
    rows = trained(2_000)
    alike = replace(rows, text=np.repeat(rows.text[:1], 2_000, axis=0))
    index = make_index(alike, "scan")
    assert index is not None
    vector = np.concatenate([np.zeros(TASTE_DIM), rows.text[0]]).astype(np.float32)
    for one in (True, False):
        found = index.nearest(vector, 240, np.ones(2_000, np.bool_), one_text=one)
        assert len({*found.rows.tolist()}) == len(found.rows) >= 240


def test_one_text_leaves_hidden_rows_out(indexed: Indexed) -> None:
    vector = one_text(indexed.rows, 4, 10).vector.astype(np.float32)
    seen = np.ones(COUNT, np.bool_)
    everything = indexed.index.nearest(vector, 240, seen)
    seen[np.setdiff1d(np.arange(COUNT), everything.rows)[:200]] = False
    found = indexed.index.nearest(vector, 240, seen, one_text=True)
    assert len(found.rows) >= 240
    assert seen[found.rows].all()


@pytest.mark.parametrize("limit", [1, 10, 25])
def test_one_text_finds_in_the_likest_lists_what_all_hold(indexed: Indexed, limit: int) -> None:
    asked = [one_text(indexed.rows, seed, limit) for seed in range(60)]
    true, found = indexed.both(asked, everything(indexed.rows))
    assert share_found(true, found) >= LEAST


def test_a_filter_reads_lists_that_are_unlike_the_text(indexed: Indexed) -> None:
    vector = one_text(indexed.rows, 1, 10).vector.astype(np.float32)
    unlike = np.random.default_rng(1).random(COUNT) < 0.4
    unlike[np.argsort(-indexed.rows.vectors(np.arange(COUNT)) @ vector)[:1_000]] = False
    found = indexed.index.nearest(vector, 240, unlike, one_text=True)
    assert len(found.rows) == 240
    assert np.array_equal(found.rows, indexed.index.nearest(vector, 240, unlike).rows)


def test_a_query_finds_the_same_alone_and_in_a_batch(indexed: Indexed) -> None:
    asked = [asked_by(indexed.rows, seed) for seed in range(20)]
    _, batch = indexed.both(asked, everything(indexed.rows))
    alone = [indexed.both([one], everything(indexed.rows))[1][0] for one in asked]
    assert batch == alone


def test_the_order_of_events_changes_no_bit(indexed: Indexed) -> None:
    asked = asked_by(indexed.rows, 1, events=12)
    turned = replace(asked, events=asked.events[::-1])
    _, [found, again] = indexed.both([asked, turned], everything(indexed.rows))
    assert found == again


def test_an_index_made_again_finds_the_same() -> None:
    rows = trained(3_000)
    asked = [asked_by(rows, seed) for seed in range(20)]
    first, second = (make_index(rows, "scan") for _ in range(2))
    assert first is not None
    assert exact.score(rows, asked, MIX, everything(rows), first) == exact.score(
        rows, asked, MIX, everything(rows), second
    )


@settings(max_examples=40, deadline=None)
@given(
    share=st.sampled_from([0.0, 0.001, 0.1, 0.3, 0.6, 0.9, 0.99, 1.0]),
    seed=st.integers(0, 50),
    limit=st.sampled_from([1, 10, 100]),
)
def test_what_is_not_allowed_is_never_found(
    indexed: Indexed, share: float, seed: int, limit: int
) -> None:
    passes = np.random.default_rng(seed).random(COUNT) < share
    asked = asked_by(indexed.rows, seed, limit=limit)
    [true], [found] = indexed.both([asked], lambda _: passes)
    assert all(passes[indexed.rows.row_of[item_id]] for item_id, _ in found)
    assert len(found) == len(true) == min(limit, int(passes.sum()))
    assert len({item_id for item_id, _ in found}) == len(found)


def test_a_filter_that_leaves_few_is_answered_exactly(indexed: Indexed) -> None:
    passes = np.arange(COUNT) % 5 == 0
    assert passes.sum() <= FEW
    true, found = indexed.both([asked_by(indexed.rows, n) for n in range(30)], lambda _: passes)
    assert true == found


def test_a_filter_that_leaves_half_keeps_recall(indexed: Indexed) -> None:
    passes = np.random.default_rng(3).random(COUNT) < 0.5
    true, found = indexed.both([asked_by(indexed.rows, n) for n in range(60)], lambda _: passes)
    assert share_found(true, found) >= LEAST


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_the_nearest_texts_are_found_under_every_metric(indexed: Indexed, metric: Metric) -> None:
    asked = [NearQuery(indexed.rows.text[row] * 2, metric, Scope(10)) for row in range(0, 600, 20)]
    true, found = (
        [
            [(c.item_id, c.score) for c in one]
            for one in exact.near(indexed.rows, asked, everything(indexed.rows), index)
        ]
        for index in (None, indexed.index)
    )
    assert share_found(true, found) >= LEAST


def test_texts_of_uneven_lengths_are_compared_one_by_one_where_angles_count() -> None:
    rows = trained(2_000)
    uneven = replace(rows, norms=rows.norms * 2, spread=1.0)
    asked = [NearQuery(rows.text[0], "cosine", Scope(5))]
    assert exact.near(uneven, asked, everything(rows), Finding(np.arange(3))) == exact.near(
        uneven, asked, everything(rows)
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """An index that finds the same rows whatever is asked."""

    rows: Ints

    def nearest(
        self, vector: Float32s, count: int, allowed: Bools, *, one_text: bool = False
    ) -> Near:
        del one_text
        rows = self.rows[allowed[self.rows]][:count]
        return Near(rows, np.zeros(len(rows), np.float32) * vector[0], 0.0)


def test_neighbours_and_the_prior_bring_what_vectors_miss() -> None:
    rows, blind = trained(4_000), Finding(np.arange(0))
    far = WeightedEvent("e", "i007", "like", 1.0)
    linked, _ = rows.neighbours.of("i007")
    asked = ScoreQuery((far,), np.zeros(rows.dim), 0.0, Scope(len(linked)))
    [found] = exact.score(rows, [asked], MIX, everything(rows), blind)
    assert {rows.row_of[c.item_id] for c in found} == {*linked.tolist()}
    popular = ScoreQuery((), np.zeros(rows.dim), 0.5, Scope(10))
    [found] = exact.score(rows, [popular], MIX, everything(rows), blind)
    assert found == exact.score(rows, [popular], MIX, everything(rows))[0]


def test_a_long_history_brings_the_neighbours_that_it_pulls_most() -> None:
    rows, blind = trained(4_000), Finding(np.arange(0))
    asked = asked_by(rows, 3, events=500)
    asked = replace(asked, vector=np.full(rows.dim, 1e-9), prior=0.0)
    pulls = pulls_of(rows, asked.events, MIX)
    assert len(pulls.rows) > FAR
    allowed = np.ones(len(rows), np.bool_)
    found = pool(rows, blind, asked, allowed, pulls)
    assert {*found.tolist()} == {*pulls.rows[np.argsort(-pulls.sums)[:FAR]].tolist()}


def test_the_size_chooses_the_index(rows: Callable[..., Rows]) -> None:
    assert make_index(trained(SCAN_FROM), "exact") is None
    assert make_index(trained(SCAN_FROM), "auto") is not None
    assert make_index(trained(SCAN_FROM - 1), "auto") is None
    assert make_index(rows(), "scan") is None  # too few to train codes


@pytest.mark.parametrize("count", [CODED_FROM, 3_000])
def test_a_head_of_few_rows_has_codes_and_obeys_filters(count: int) -> None:
    rows = trained(count)
    index = make_index(rows, "scan")
    assert index is not None
    longest = np.argsort(-np.linalg.norm(rows.target, axis=1))[:30]
    for row in longest:
        vector = rows.vectors(int(row))
        seen = np.ones(len(rows), np.bool_)
        true = np.argmax(rows.vectors(np.arange(len(rows))) @ vector)
        assert true in index.nearest(vector, 20, seen).rows
        hidden = seen.copy()
        hidden[longest] = False
        hidden[: count // 2] = False
        left = index.nearest(vector, 100, hidden).rows
        assert len(left) == len({*left.tolist()}) >= 100
        assert hidden[left].all()


def test_equal_lengths_need_no_head() -> None:
    rows = trained(2_000)
    flat = replace(rows, target=rows.target[:, :0], context=rows.context[:, :0])
    index = make_index(flat, "scan")
    assert index is not None
    asked = [NearQuery(rows.text[row], "cosine", Scope(1)) for row in range(20)]
    found = exact.near(flat, asked, everything(flat), index)
    assert [one[0].item_id for one in found] == [rows.ids[row] for row in range(20)]
