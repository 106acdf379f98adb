"""What knobs are chosen on: the whole log, or whole users of it."""

import numpy as np

from llmrec_ray.learning.interactions import EventLog
from llmrec_ray.learning.validation import sample


def log(counts: list[int]) -> EventLog:
    users = np.repeat(np.arange(len(counts)), counts)
    items = np.arange(len(users))
    return EventLog(users, items, np.zeros_like(users), (("like", None),), len(counts), len(users))


def test_a_small_log_is_taken_whole() -> None:
    whole = log([3, 2])
    assert sample(whole, 5, seed=1) is whole


def test_of_a_large_log_whole_users_are_taken() -> None:
    whole = log([4] * 50)
    found = sample(whole, 90, seed=1)
    assert found.user_count == 22
    assert np.bincount(found.users).tolist() == [4] * 22
    starts = found.items.reshape(-1, 4)[:, 0]
    assert (found.items.reshape(-1, 4) == starts[:, np.newaxis] + np.arange(4)).all()
