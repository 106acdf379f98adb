"""Stages of a request add up, through the tasks that it starts, and only where one measures."""

import asyncio

import pytest

from llmrec_ray.timing import measured, running, stage


async def test_stages_of_tasks_that_a_request_starts_count_to_it() -> None:
    async def work() -> None:
        with stage("search"):
            await asyncio.sleep(0)

    async def request() -> list[str]:
        stages = measured()
        await asyncio.gather(work(), work())
        with stage("rank"):
            pass
        return list(stages.spent)

    assert await asyncio.gather(request(), request()) == [["search", "rank"]] * 2
    assert running() is None, "a request's measurement ends with its task"


async def test_a_stage_that_fails_counts_and_one_that_runs_again_adds() -> None:
    stages = measured()
    stages.add("user", 1.0)
    with pytest.raises(ValueError, match="broken"), stage("user"):
        raise ValueError("broken")
    assert stages.spent["user"] > 1.0
    assert stages.total > 0


def test_without_a_measurement_a_stage_is_free() -> None:
    with stage("search"):
        assert running() is None
