"""Random work on generations beside a naive model; the seed is printed, and repeats a run."""

import os
import random

import pytest

from tests.support.machine.__main__ import run

SEED = int(os.environ.get("LLMREC_TESTS_SEED") or random.SystemRandom().randrange(2**32))


@pytest.mark.parametrize(
    ("examples", "steps"), [(12, 30), pytest.param(400, 60, marks=[pytest.mark.long])]
)
@pytest.mark.timeout(1200)
def test_no_answer_and_no_listing_diverges_from_the_model(
    capsys: pytest.CaptureFixture[str], examples: int, steps: int
) -> None:
    with capsys.disabled():
        print(f"\nmodel-based test: LLMREC_TESTS_SEED={SEED}")  # noqa: T201
        print(run(examples=examples, steps=steps, number=SEED))  # noqa: T201
