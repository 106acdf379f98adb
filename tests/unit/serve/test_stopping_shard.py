"""A replica of a shard that is stopped."""

import asyncio
import logging
from pathlib import Path

import pytest

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.storage.local import FolderStore
from serve.shards import Place, ShardReplica


async def started(folder: Path) -> ShardReplica:
    replica = ShardReplica.__new__(ShardReplica)
    events = open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600)
    place = Place(shard=0, shards=1, poll_s=0.001, items_poll_s=0.001)
    await ShardReplica.__init__(replica, lambda: FolderStore(folder), lambda: events.items, place)
    return replica


async def test_it_is_healthy_until_it_stops_and_then_no_longer_looks_for_generations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replica = await started(tmp_path)
    await replica.check_health()
    replica.__del__()
    await asyncio.get_running_loop().shutdown_default_executor()
    with pytest.raises(RuntimeError, match="no longer follows"):
        await replica.check_health()
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_one_that_never_started_stops_too() -> None:
    ShardReplica.__new__(ShardReplica).__del__()
