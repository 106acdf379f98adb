"""Training by Ray tasks makes what training in one process makes."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_ray_tasks_change_no_bit_and_an_error_of_one_is_raised() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.learning_on_ray"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["here"] == said["on_ray"]
    assert "spoiled at 1" in said["error"]
