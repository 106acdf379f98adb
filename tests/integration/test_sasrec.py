"""SASRec in its own environment: it learns what always comes next."""

from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.evaluation.data import Ask, pasts_of
from llmrec_ray.evaluation.report import report
from llmrec_ray.evaluation.run import evaluate
from llmrec_ray.evaluation.sasrec import Sasrec, checked
from llmrec_ray.evaluation.splits import split
from tests.support.evaluating import ALL, ITEMS, likes, past_of, small_data

PYTHON = Path("var/sasrec/bin/python")

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not PYTHON.exists(), reason="rectools is not installed: sh benchmarks/sasrec.sh"
    ),
]


def test_it_foretells_what_always_comes_next(tmp_path: Path) -> None:
    data = small_data(tmp_path)
    rounds = {f"u{n}": [(n + step) % ITEMS for step in range(8)] for n in range(5 * ITEMS)}
    train = pasts_of(likes(rounds, data.catalog.ids), data.catalog.ids)
    system = Sasrec(checked(PYTHON), rate=0.01, batch=16, epochs=30)
    ranker = system.fit(data.catalog, train)
    asks = [
        Ask(past_of(data, codes), np.array([0]), np.array(codes, np.int64))
        for codes in ([4, 5, 6], [20, 21], [])
    ]
    found = ranker.rank(asks, ALL, 3)
    assert found[:2, 0].tolist() == [7, 22]
    assert found[2, 0] == 0
    assert system.trained["epochs"]


def test_it_stands_in_the_report_with_what_its_training_came_to(tmp_path: Path) -> None:
    data = small_data(tmp_path)
    made = split(data, "warm", 13)
    systems = (Sasrec(PYTHON, epochs=1, name="first"), Sasrec(PYTHON, epochs=1))
    written = report(data, made, systems, evaluate(made, systems, 13), {})
    assert written["systems"]["sasrec"]["trained"]["stopped_by"] == "epochs"  # pyright: ignore[reportIndexIssue]
    assert "python" not in written["systems"]["sasrec"]  # pyright: ignore[reportIndexIssue]
