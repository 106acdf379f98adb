"""Placement: from an item id to its bucket, and from a bucket to the shard that owns it."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from llmrec_ray.errors import InvalidInput
from llmrec_ray.types import Ints

BUCKETS = 1024


def bucket_of(item_id: str) -> int:
    """The bucket of an item, 0 … 1023: fixed for ever, on every machine."""
    digest = blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def buckets_of(item_ids: Iterable[str]) -> Ints:
    """The bucket of every item, int64 [items]."""
    return np.fromiter(map(bucket_of, item_ids), np.int64)


def shard_buckets(shard: int, shards: int) -> range:
    """The buckets that a shard owns: contiguous, and every bucket has one owner."""
    if not 1 <= shards <= BUCKETS:
        raise InvalidInput(f"{shards} shards: use 1 to {BUCKETS}.", field="shards")
    if not 0 <= shard < shards:
        raise InvalidInput(f"shard {shard}: the {shards} shards count from 0.", field="shard")
    return range(shard * BUCKETS // shards, (shard + 1) * BUCKETS // shards)


def shard_of(item_id: str, shards: int) -> int:
    """The shard that owns an item."""
    shard_buckets(0, shards)  # checks the number
    return ((bucket_of(item_id) + 1) * shards - 1) // BUCKETS
