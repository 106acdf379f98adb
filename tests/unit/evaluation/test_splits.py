"""Splits: nothing that is asked for is learnt from, and what was had is never a target."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec_ray.errors import InvalidInput
from llmrec_ray.evaluation.data import Data, pasts_of
from llmrec_ray.evaluation.splits import PROTOCOLS, Protocol, Split, split
from tests.support.evaluating import likes, small_data

Pairs = set[tuple[str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return small_data(tmp_path_factory.mktemp("catalog"))


def learnt(made: Split) -> Pairs:
    return {(event.user_id, event.item_id) for past in made.train for event in past.events}


def asked(made: Split) -> Pairs:
    ids = made.catalog.ids
    return {
        (ask.past.user_id, ids[code])
        for trial in made.trials
        for ask in trial.asks
        for code in ask.targets
    }


histories = st.lists(
    st.lists(st.integers(0, 29), min_size=1, max_size=14), min_size=5, max_size=14
).filter(lambda users: sum(map(len, users)) > 40)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(users=histories, seed=st.integers(0, 5))
def test_nothing_asked_for_is_learnt_and_nothing_had_is_asked_for(
    data: Data, protocol: Protocol, users: list[list[int]], seed: int
) -> None:
    events = likes({f"u{n:02}": codes for n, codes in enumerate(users)}, data.catalog.ids)
    try:
        made = split(replace(data, pasts=pasts_of(events, data.catalog.ids)), protocol, seed)
    except InvalidInput:
        return  # too little is left to ask
    assert not asked(made) & learnt(made)
    for trial in made.trials:
        for ask in trial.asks:
            assert len(ask.targets)
            assert not np.intersect1d(ask.targets, ask.masked).size
            assert np.isin(ask.past.codes, ask.masked).all()


@pytest.mark.parametrize("protocol", ["warm", "loo", "replay"])
def test_nothing_learnt_of_a_user_is_later_than_what_is_asked_for(
    data: Data, protocol: Protocol
) -> None:
    made = split(data, protocol, 13)
    time_of = {(e.user_id, e.item_id): e.time for past in data.pasts for e in past.events}
    newest = {past.user_id: past.events[-1].time for past in made.train}
    assert asked(made)
    for user, item in asked(made):
        assert time_of[user, item] > newest[user]


def test_warm_asks_for_the_last_fifth_rounded_up(data: Data) -> None:
    events = likes({f"u{n}": [0, 1, 2, 3, 4, 5] for n in range(3)}, data.catalog.ids)
    made = split(replace(data, pasts=pasts_of(events, data.catalog.ids)), "warm", 13)
    assert [len(past) for past in made.train] == [4, 4, 4]
    assert [ask.targets.tolist() for ask in made.trials[0].asks] == [[4, 5]] * 3


def test_warm_leaves_out_rare_items_and_then_short_users(data: Data) -> None:
    users = {f"u{n}": [0, 1, 2, 3, 4] for n in range(3)} | {"short": [0, 1, 2, 3, 9, 10]}
    events = likes(users, data.catalog.ids)
    made = split(replace(data, pasts=pasts_of(events, data.catalog.ids)), "warm", 13)
    assert made.catalog.ids == data.catalog.ids[:5]
    assert [past.user_id for past in made.train] == ["u0", "u1", "u2"]


def test_leave_one_out_knows_the_second_last_event_without_learning_from_it(data: Data) -> None:
    events = likes({f"u{n}": [n, 5, 6, 7] for n in range(3)}, data.catalog.ids)
    made = split(replace(data, pasts=pasts_of(events, data.catalog.ids)), "loo", 13)
    assert [past.codes.tolist() for past in made.train] == [[0, 5], [1, 5], [2, 5]]
    assert made.trials[0].asks[0].past.codes.tolist() == [0, 5, 6]
    assert [ask.targets.tolist() for ask in made.trials[0].asks] == [[7]] * 3


def test_no_cold_item_is_learnt_from_and_nothing_else_is_asked_for(data: Data) -> None:
    made = split(data, "cold-items", 13)
    only, everything = made.trials
    cold = {made.catalog.ids[code] for code in np.flatnonzero(only.allowed)}
    assert len(cold) == round(0.1 * len(made.catalog))
    assert not {item for _, item in learnt(made)} & cold
    assert {item for _, item in asked(made)} <= cold
    assert everything.allowed.all()


def test_cold_items_are_the_same_for_a_seed(data: Data) -> None:
    drawn = [split(data, "cold-items", seed).trials[0].allowed.tolist() for seed in (13, 13, 14)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_cold_users_are_the_newest_and_have_the_same_targets_for_every_k(data: Data) -> None:
    made = split(data, "cold-users", 13)
    cold = {ask.past.user_id or "" for trial in made.trials[1:] for ask in trial.asks}
    first = {past.user_id: past.events[0].time for past in data.pasts}
    oldest_cold = min(first[user] for user in cold)
    assert all(first[past.user_id] < oldest_cold for past in made.train)
    assert not cold & {past.user_id for past in made.train}
    assert [trial.name for trial in made.trials] == ["k0", "k1", "k3", "k5"]
    targets = [[ask.targets.tolist() for ask in trial.asks] for trial in made.trials]
    assert all(of_trial == targets[0] for of_trial in targets)
    for trial, k in zip(made.trials, (0, 1, 3, 5), strict=True):
        assert all(len(ask.past) == k for ask in trial.asks)


def test_without_times_the_cold_users_are_drawn_and_the_report_says_so(data: Data) -> None:
    made = split(replace(data, timed=False), "cold-users", 13)
    assert str(made.facts["newest_by"]).startswith("drawn")


def test_replay_asks_in_order_of_time_before_and_after_the_event_before(data: Data) -> None:
    made = split(data, "replay", 13)
    before, after = made.trials
    time_of = {(e.user_id, e.item_id): e.time for past in data.pasts for e in past.events}
    times = [time_of[a.past.user_id, made.catalog.ids[a.targets[0]]] for a in after.asks]
    assert times == sorted(times)
    for one, other in zip(before.asks, after.asks, strict=True):
        assert one.targets.tolist() == other.targets.tolist()
        assert one.masked.tolist() == other.masked.tolist()
        assert one.past.codes.tolist() == other.past.codes.tolist()[:-1]


def test_a_single_user_is_too_few(data: Data) -> None:
    events = likes({"u": [0, 1, 2]}, data.catalog.ids)
    with pytest.raises(InvalidInput, match="1 users have something to ask for"):
        split(replace(data, pasts=pasts_of(events, data.catalog.ids)), "loo", 13)


def test_items_that_all_are_rare_leave_nothing_to_rank(data: Data) -> None:
    events = likes({"u": [0, 1], "v": [2]}, data.catalog.ids)
    with pytest.raises(InvalidInput, match="no item has 3 relevant events"):
        split(replace(data, pasts=pasts_of(events, data.catalog.ids)), "warm", 13)


def test_no_events_at_all_is_a_clear_error(data: Data) -> None:
    with pytest.raises(InvalidInput, match="0 users have something"):
        split(replace(data, pasts=()), "loo", 13)
