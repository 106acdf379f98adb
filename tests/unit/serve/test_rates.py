"""Token buckets: so many at once, then so many a second, each caller by itself."""

import math

from hypothesis import given
from hypothesis import strategies as st

from serve.http.rates import Buckets


def test_a_burst_passes_and_the_next_waits_for_one_token() -> None:
    buckets = Buckets(per_s=2, burst=3)
    assert [buckets.take("shop", 10.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_after_the_wait_that_was_told_the_request_passes() -> None:
    buckets = Buckets(per_s=0.3, burst=1)
    buckets.take("shop", 0.0)
    wait = buckets.take("shop", 1.0)
    assert 0 < wait < 1 / 0.3
    assert buckets.take("shop", 1.0 + math.ceil(wait)) == 0


def test_being_refused_costs_nothing() -> None:
    buckets = Buckets(per_s=1, burst=1)
    buckets.take("shop", 0.0)
    for _ in range(100):
        assert buckets.take("shop", 0.5) == 0.5
    assert buckets.take("shop", 1.0) == 0


def test_one_caller_does_not_slow_another() -> None:
    buckets = Buckets(per_s=1, burst=1)
    assert buckets.take("shop", 0.0) == 0
    assert buckets.take("shop", 0.0) == 1
    assert buckets.take("app", 0.0) == 0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    buckets = Buckets(per_s=1, burst=1)
    assert buckets.take("shop", 100.0) == 0
    assert buckets.take("shop", 0.0) > 0


@given(
    st.floats(0.1, 100),
    st.integers(1, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_never_more_pass_than_the_burst_and_the_rate_allow(
    per_s: float, burst: int, gaps: list[float]
) -> None:
    buckets = Buckets(per_s, burst)
    now, passed = 0.0, 0
    for gap in gaps:
        now += gap
        passed += buckets.take("shop", now) == 0
    assert passed <= burst + now * per_s + 1e-6
