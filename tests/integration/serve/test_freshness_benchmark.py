"""The benchmark of freshness, on the service in this process: what it counts and cleans up."""

import httpx

from benchmarks.freshness import measure
from tests.support.service import House


async def test_every_event_shows_in_the_first_answer_after_it_and_nothing_is_left(
    http: httpx.AsyncClient, house: House
) -> None:
    before = len(list(house.events.store.scan()))
    found = await measure(http, probes=3, rate=5)
    assert found["asks"] == {"1": 3}
    assert found["ratios"]["changed_in_the_first_answer"] == 1
    assert found["freshness_s"]["p50"] >= found["post_s"]["p50"] > 0
    assert found["background"]["failed"] == 0
    assert len(list(house.events.store.scan())) == before


async def test_half_of_the_peak_is_asked_for_where_no_rate_is_given(
    http: httpx.AsyncClient,
) -> None:
    found = await measure(http, probes=1, rate=None, peak_s=0.2)
    assert found["background"]["asked_per_s"] == found["peak_per_s"] / 2
