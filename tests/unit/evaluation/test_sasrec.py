"""SASRec: what goes to the other Python and comes back, and what is said where that is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.errors import InvalidInput
from llmrec_ray.evaluation.data import Ask, Data
from llmrec_ray.evaluation.peers import peers_of
from llmrec_ray.evaluation.ranking import ranked
from llmrec_ray.evaluation.sasrec import Sasrec, checked, scores_of, write_histories
from llmrec_ray.evaluation.sasrec_process import held_out
from tests.support.evaluating import ALL, ITEMS, past_of, small_data


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return small_data(tmp_path)


def test_histories_are_written_one_after_the_other_oldest_first(data: Data, tmp_path: Path) -> None:
    histories = [[3, 1, 2], [], [5]]
    write_histories(tmp_path / "asked.npz", [past_of(data, codes) for codes in histories])
    found = np.load(tmp_path / "asked.npz", allow_pickle=False)
    assert found["lengths"].tolist() == [3, 0, 1]
    assert found["codes"].tolist() == [3, 1, 2, 5]


def test_products_of_the_vectors_rank_and_unlearnt_items_come_last(
    data: Data, tmp_path: Path
) -> None:
    items = np.zeros((ITEMS, 2), np.float32)
    items[:, 0] = np.arange(ITEMS) - ITEMS
    numbers = np.arange(1, ITEMS + 1)
    numbers[ITEMS - 1] = 0
    np.save(tmp_path / "items.npy", items)
    np.save(tmp_path / "numbers.npy", numbers)
    np.save(tmp_path / "histories.npy", np.array([[1, 0], [0, 0]], np.float32))
    popular = np.zeros(ITEMS)
    popular[7] = 1.0
    asks = [
        Ask(past_of(data, codes), np.array([0]), np.array(codes, np.int64))
        for codes in ([ITEMS - 2], [])
    ]
    found = ranked(scores_of(tmp_path), popular, asks, ALL, ITEMS)
    assert found[0, :3].tolist() == [ITEMS - 3, ITEMS - 4, ITEMS - 5]
    assert found[0, -2:].tolist() == [ITEMS - 1, -1]
    assert found[1, :2].tolist() == [7, 0]


def test_the_last_events_of_users_with_enough_are_held_out() -> None:
    lengths = np.array([3, 1, 2, 4])
    assert np.flatnonzero(held_out(lengths, 10, seed=1)).tolist() == [2, 9]
    assert held_out(lengths, 1, seed=1).sum() == 1


def test_a_missing_python_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none/python: no such file.*benchmarks/sasrec\.sh"):
        checked(tmp_path / "none" / "python")


def test_a_python_without_rectools_is_named_with_the_reason_and_the_remedy() -> None:
    with pytest.raises(InvalidInput, match=r"RecTools.*benchmarks/sasrec\.sh"):
        checked(Path(sys.executable))


def test_it_is_a_peer_where_a_python_is_given_and_otherwise_said_to_be_left_out() -> None:
    with_it, left_out = peers_of("warm", ITEMS, Path("python"))
    assert Sasrec(Path("python")) in with_it
    assert "sasrec" not in left_out
    without, left_out = peers_of("warm", ITEMS)
    assert "sasrec" not in {system.name for system in without}
    assert "sh benchmarks/sasrec.sh" in left_out["sasrec"]


def test_items_without_events_are_nothing_that_it_can_rank() -> None:
    systems, left_out = peers_of("cold-items", ITEMS, Path("python"))
    assert "sasrec" not in {system.name for system in systems}
    assert "sasrec" in left_out
