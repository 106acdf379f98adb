"""The scaling rules: pure functions of plain numbers, and the policy that Serve calls with them."""

import math
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from serve.autoscaling import Load, Rule, embedder, fault, generator, ingress, policy, shards

RULE = Rule(target=4, floor=1, ceiling=8, look_back_s=30, down_after_s=600, to_zero_after_s=1800)


def load(ongoing: float = 0, *, replicas: int = 1, **more: Any) -> Load:
    told = {"rule": RULE, "running": replicas, "replicas": replicas} | more
    return Load(**told, ongoing=ongoing)


def context(name: str, ongoing: Any = 0.0, **more: Any) -> AutoscalingContext:
    """What Serve passes for a deployment; `more` are numbers of its config or of the context."""
    config: dict[str, Any] = {
        "min_replicas": 1,
        "max_replicas": 8,
        "target_ongoing_requests": 4,
    } | {key: more.pop(key) for key in list(more) if key in AutoscalingConfig.model_fields}
    read = AutoscalingConfig(**config)
    told: dict[str, Any] = {
        "deployment_id": name,
        "deployment_name": name,
        "app_name": "llmrec",
        "current_num_replicas": 1,
        "target_num_replicas": 1,
        "running_replicas": [],
        "total_num_requests": ongoing,
        "total_queued_requests": 0.0,
        "aggregated_metrics": {},
        "raw_metrics": {},
        "capacity_adjusted_min_replicas": read.min_replicas,
        "capacity_adjusted_max_replicas": read.max_replicas,
        "policy_state": {},
        "last_scale_up_time": None,
        "last_scale_down_time": None,
        "current_time": 0.0,
        "config": read,
    }
    return AutoscalingContext(**(told | more))


def decide(*contexts: AutoscalingContext) -> dict[str, float]:
    return policy({each.deployment_name: each for each in contexts})[0]


@pytest.mark.parametrize("component", [embedder, ingress])
def test_replicas_are_wanted_for_the_work_at_the_target_each(component: Any) -> None:
    assert component(load(4)) == 1
    assert component(load(4.1)) == 2
    assert component(load(13, replicas=2)) == 4


@pytest.mark.parametrize("component", [embedder, ingress, generator, lambda one: shards([one])])
def test_floor_and_ceiling_hold(component: Any) -> None:
    assert component(load(1e9, unfinished=1e9)) == RULE.ceiling
    assert component(load(0, replicas=3, unfinished=0)) == RULE.floor


def test_fewer_are_wanted_only_where_those_that_stay_have_room() -> None:
    assert ingress(load(7.9, replicas=3)) == 3
    assert ingress(load(6.4, replicas=3)) == 2


def test_the_most_loaded_shard_decides_for_all() -> None:
    assert shards([load(1), load(11), load(0)]) == 3


def test_a_shard_whose_load_is_unknown_has_no_say() -> None:
    assert shards([load(math.nan), load(5)]) == 2
    assert shards([load(math.nan)]) is None
    assert shards([]) is None


def test_the_generator_goes_by_what_is_unfinished_and_what_waits_for_it() -> None:
    assert generator(load(99, unfinished=3, queued=2)) == 2
    assert generator(load(99, unfinished=0)) == 1


def test_an_idle_generator_goes_to_zero_although_it_is_asked_whether_it_is_there() -> None:
    to_zero = replace(RULE, floor=0)
    assert generator(load(0.02, unfinished=0, rule=to_zero)) == 0


def test_a_generator_at_zero_comes_back_with_the_first_demand_and_not_before() -> None:
    gone = load(running=0, replicas=0, rule=replace(RULE, floor=0))
    assert generator(gone) == 0
    assert generator(replace(gone, queued=0.1)) == 1


def test_a_replica_that_starts_is_not_stopped_because_nobody_waits_any_more() -> None:
    assert generator(load(running=0, replicas=1, rule=replace(RULE, floor=0))) == 1
    assert embedder(load(0, running=0, replicas=3)) == 3


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -1.0])
def test_a_number_that_is_none_moves_nothing(unknown: float) -> None:
    assert embedder(load(unknown)) is None
    assert generator(load(0, unfinished=unknown)) is None
    assert generator(load(0, unfinished=0, queued=unknown)) is None


def test_a_generator_that_has_not_reported_moves_nothing() -> None:
    assert generator(load(5, unfinished=None)) is None


@given(work=st.floats(0, 100), now=st.integers(1, 8))
def test_what_is_wanted_is_still_wanted_once_it_is_there(work: float, now: int) -> None:
    wanted = ingress(load(work, replicas=now))
    assert wanted is not None
    assert ingress(load(work, replicas=wanted)) == wanted


@given(work=st.floats(0, 100), more=st.floats(0, 100), now=st.integers(1, 8))
def test_more_work_never_wants_fewer(work: float, more: float, now: int) -> None:
    fewer, most = ingress(load(work, replicas=now)), ingress(load(work + more, replicas=now))
    assert fewer is not None
    assert most is not None
    assert fewer <= most


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"target": 0.1}, "target_ongoing_requests is 0.1: set 0.5 or more"),
        ({"target": math.nan}, "target_ongoing_requests"),
        ({"up_factor": 10}, "set 1 or less"),
        ({"down_factor": 1.5}, "set 1 or less"),
        ({"down_after_s": 10}, "downscale_delay_s"),
        ({"to_zero_after_s": 10}, "downscale_to_zero_delay_s"),
    ],
)
def test_a_rule_that_would_oscillate_is_named(wrong: dict[str, float], told: str) -> None:
    assert fault(RULE) is None
    assert told in str(fault(replace(RULE, **cast(Any, wrong))))


# ── the policy ───────────────────────────────────────────────────────────────────────────────────


def test_load_on_one_shard_scales_every_shard() -> None:
    wanted = decide(context("shard-0", 11.0), context("shard-1", 0.0), context("shard-12", 1.0))
    assert wanted == {"shard-0": 3, "shard-1": 3, "shard-12": 3}


def test_each_component_goes_by_its_own_rule() -> None:
    speaks = {"unfinished": {"r1": 3.0, "r2": 6.0}}
    wanted = decide(
        context("api", 5.0),
        context("embedder", lambda: 9.0),
        context("generator", 50.0, aggregated_metrics=speaks),
        context("shard-0", 1.0),
    )
    assert wanted == {"api": 2, "embedder": 3, "generator": 3, "shard-0": 1}


def test_a_deployment_that_is_not_known_stays_as_it_is() -> None:
    assert decide(context("reranker", 1e6), context("shards", 9.0)) == {}
    assert policy({}) == ({}, {})


def test_numbers_that_are_missing_move_nothing() -> None:
    assert decide(context("api", math.nan), context("embedder", None)) == {}
    assert decide(context("generator", aggregated_metrics=None)) == {}
    assert decide(context("generator", aggregated_metrics={"unfinished": {}})) == {}
    assert decide(context("generator", aggregated_metrics={"unfinished": {"r": math.nan}})) == {}


def test_a_rule_that_would_oscillate_moves_nothing_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shaky = context("api", 90.0, downscale_delay_s=1)
    wanted, state = policy({"api": shaky})
    assert wanted == {}
    assert "downscale_delay_s" in caplog.text
    caplog.clear()
    policy({"api": context("api", 90.0, downscale_delay_s=1, policy_state=state["api"])})
    assert caplog.text == ""


def test_one_shard_with_a_rule_that_would_oscillate_holds_them_all() -> None:
    wanted = decide(context("shard-0", 11.0), context("shard-1", target_ongoing_requests=0.01))
    assert wanted == {}
