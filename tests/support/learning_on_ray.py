"""A program: trains here and as Ray tasks, and prints what both made as digests, and an error."""

import json
from hashlib import blake2b

import numpy as np
import ray

from llmrec_ray.errors import InvalidInput
from llmrec_ray.learning.blocks import Block, Spread, here
from llmrec_ray.learning.interactions import Interactions
from llmrec_ray.learning.moments import moments
from llmrec_ray.learning.next_items import solve
from llmrec_ray.learning.taste import missed, taste
from serve.learning import on_ray
from tests.support.interacting import random_interactions

ITEMS = 400


def digest(data: Interactions, spread: Spread) -> str:
    """Of every array that training makes."""
    found = moments(data, recency=0.85, window=10, company=0.3, spread=spread)
    model = solve(found, 3.0, most=100)
    learned = taste(found, model, items=ITEMS, dim=8, seed=1)
    lists = missed(data, model, learned, most=20, min_support=1, spread=spread)
    arrays = [found.past.data, found.past.indices, found.next.data, found.next.indices]
    arrays += [lists.sources, lists.targets, lists.weights]
    hashed = blake2b()
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def spoiled(common: str, block: Block) -> int:
    """Fails on the second block."""
    if block[0]:
        raise InvalidInput(f"{common} at {block[0]}")
    return 0


def main() -> None:
    """Both ways, then a block that fails."""
    data = random_interactions(users=3_000, items=ITEMS, mean=40, seed=4)
    alone = digest(data, here)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        on_tasks = digest(data, on_ray)
        try:
            list(on_ray(spoiled, "spoiled", [(0, 1), (1, 2)]))
            error = ""
        except InvalidInput as cause:
            error = str(cause)
    finally:
        ray.shutdown()
    print(json.dumps({"here": alone, "on_ray": on_tasks, "error": error}))  # noqa: T201


if __name__ == "__main__":
    main()
