"""How many calls arrive at which moment of a run."""

import pytest

from loadtest.shapes import PER_CALLER, SPIKE, Profile


def test_a_steady_run_keeps_its_rate_and_ends() -> None:
    profile = Profile("steady", 40, 60)
    assert [profile.at(second) for second in (0, 30, 59.9, 60)] == [40, 40, 40, None]


def test_a_ramp_climbs_to_its_rate_and_never_falls() -> None:
    rates = [Profile("ramp", 100, 60).at(second) or 0 for second in range(60)]
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == (10, 100)


def test_a_spike_rises_once_and_falls_back() -> None:
    profile = Profile("spike", 10, 60)
    assert [profile.at(second) for second in (19, 20, 29, 30)] == [10, 10 * SPIKE, 10 * SPIKE, 10]


def test_callers_of_an_open_loop_make_the_rate_together() -> None:
    callers = Profile("steady", 40, 60).callers(0)
    assert callers is not None
    assert callers * PER_CALLER == pytest.approx(40)


def test_a_closed_loop_has_as_many_callers_as_it_says() -> None:
    profile = Profile("closed", 16, 10)
    assert (profile.callers(0), profile.open) == (16, False)


@pytest.mark.parametrize(("rate", "seconds"), [(0, 60), (-1, 60), (10, 0), (float("nan"), 60)])
def test_a_run_without_arrivals_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="over 0"):
        Profile("steady", rate, seconds)


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ValueError, match="'wave'"):
        Profile("wave", 1, 1)  # pyright: ignore[reportArgumentType]
