"""Blocks of a training step in, what a function makes of each out, as tasks of a Ray cluster."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import ray

from llmrec_ray.learning.blocks import Block

Common = TypeVar("Common")
Made = TypeVar("Made")

AHEAD = 2
"""Tasks for each CPU that are started or done before their results are fetched: bounds memory."""


def on_ray(
    function: Callable[[Common, Block], Made], common: Common, blocks: Sequence[Block]
) -> Iterator[Made]:
    """The `Spread` of a cluster: `common` lies once in the object store of each node.

    Ray must be up. An error of a block is raised here as it is.
    """
    shared = ray.put(common)
    task = ray.remote(num_cpus=1)(function)
    waiting = iter(blocks)
    ahead = max(1, AHEAD * int(ray.cluster_resources().get("CPU", 1)))
    running = deque(task.remote(shared, block) for block in islice(waiting, ahead))
    while running:
        yield ray.get(running.popleft())
        running.extend(task.remote(shared, block) for block in islice(waiting, 1))
