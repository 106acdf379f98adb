"""Placement: every item has one bucket, every bucket one shard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.errors import InvalidInput
from llmrec_ray.generation.buckets import BUCKETS, bucket_of, buckets_of, shard_buckets, shard_of

shard_counts = st.integers(1, BUCKETS)
item_ids = st.text(st.characters())  # lone surrogates too: JSON can carry them


def test_buckets_never_change() -> None:
    assert [bucket_of(item_id) for item_id in ("", "f1", "電影", "tt0111161")] == [
        692,
        651,
        366,
        575,
    ]


@given(item_ids)
def test_every_id_has_a_bucket(item_id: str) -> None:
    assert 0 <= bucket_of(item_id) < BUCKETS


@given(st.lists(item_ids))
def test_many_ids_have_the_buckets_of_each(ids: list[str]) -> None:
    assert buckets_of(ids).tolist() == [bucket_of(item_id) for item_id in ids]


def test_items_spread_evenly() -> None:
    counts = [0] * 8
    for number in range(8000):
        counts[shard_of(f"item-{number}", 8)] += 1
    assert min(counts) > 900
    assert max(counts) < 1100


@given(shard_counts)
def test_shards_own_every_bucket_once_in_order(shards: int) -> None:
    owned = [bucket for shard in range(shards) for bucket in shard_buckets(shard, shards)]
    assert owned == list(range(BUCKETS))


@given(shard_counts)
def test_no_shard_owns_more_than_one_bucket_above_another(shards: int) -> None:
    sizes = {len(shard_buckets(shard, shards)) for shard in range(shards)}
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@given(item_ids, shard_counts)
def test_the_owner_of_an_item_owns_its_bucket(item_id: str, shards: int) -> None:
    assert bucket_of(item_id) in shard_buckets(shard_of(item_id, shards), shards)


@pytest.mark.parametrize(("shard", "shards"), [(0, 0), (0, 1025), (0, -1), (2, 2), (-1, 2)])
def test_a_shard_that_cannot_be_is_refused(shard: int, shards: int) -> None:
    with pytest.raises(InvalidInput):
        shard_buckets(shard, shards)
