"""One generation after the other under load: every call is answered, each from one generation."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.swap import copies, measure
from llmrec_ray.storage.local import FolderStore
from tests.e2e.conftest import served, without_a_language_model

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CALLERS = ("Recommend", "Evidence", "Session", "Similar", "Search", "Write", "Forget")
PATIENT = {  # speed is the benchmark's matter, and a busy machine must not refuse
    "LLMREC_SEARCH__DEADLINE_S": "30",
    "LLMREC_EMBEDDING__DEADLINE_S": "30",
}


def test_swaps_under_load_fail_no_call_and_mix_no_answer(tmp_path: Path) -> None:
    if find_spec("locust") is None:
        pytest.skip("locust is not installed: pip install --no-deps -r requirements/load.txt")
    with served(tmp_path, without_a_language_model(), **PATIENT) as live:
        store = FolderStore(live.objects)
        found = measure(
            live.url,
            copies(store, store),
            live.environment,
            seconds=30,
            arrivals=6,
            every_s=3,
            callers=CALLERS,
        )
    assert not found.swapping.reasons
    assert (found.failed, found.mixed) == (0, 0)
    assert {swap.how for swap in found.swaps} == {"activate", "rollback"}
    assert all(kind.degraded == 0 for kind in found.swapping.kinds.values())
