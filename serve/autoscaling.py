"""What every deployment has to do in, how many replicas each should have out: one pure function a
component, and the policy that Serve calls with all of them at once.

The Serve config holds each component's numbers, with their reasons: target, floor, ceiling and
cool-down. Serve applies floor, ceiling, factors and delays to what is wanted here. A policy of the
application overrides those of its deployments, so this is the only one.

Oscillation (github.com/ray-project/ray/issues/63279: 500 replicas, 2000, 500, …) is kept away by a
margin before scaling down, by wanting replicas for the work alone and never for the number that
runs now, and by `fault`: a rule that would oscillate moves nothing.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ray.serve.config import AutoscalingContext

log = logging.getLogger("ray.serve")

D = TypeVar("D")

FULL = 0.8
"""Scale down where the replicas that stay are at most this full, or the next request brings back
what was stopped."""

SMALLEST_TARGET = 0.5
"""Below it one request is worth more than two replicas, and its end is worth as many."""

UNFINISHED = "unfinished"
"""The generator's own number (`GeneratorReplica.record_autoscaling_stats`)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One component's numbers from the Serve config; times in seconds."""

    target: float
    floor: int
    ceiling: int
    look_back_s: float
    down_after_s: float
    to_zero_after_s: float
    up_factor: float = 1.0
    down_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a deployment has to do: means over the look-back period, of all its replicas.

    `ongoing` has been asked for and not answered yet, wherever it waits; `queued` is the part that
    no replica has taken. `unfinished` is what the replicas say themselves, None where none did.
    """

    rule: Rule
    replicas: int
    """What Serve aims at now; `running` of them are up."""
    running: int
    ongoing: float
    queued: float = 0.0
    unfinished: float | None = None


# ── one function a component: replicas wanted, or None to leave them as they are ─────────────────


def embedder(load: Load) -> int | None:
    """By queued work: every text that has no vector yet.

    A replica encodes one batch at a time, so all texts beyond a batch wait: for a batch to end, or
    at a caller that no replica takes more from.
    """
    return _enough(load.ongoing, load)


def shards(loads: Sequence[Load]) -> int | None:
    """By the calls to the most loaded shard, for all of them.

    An answer needs every shard, so the slowest decides how fast it is: a shard that is scaled alone
    moves the wait to the next one. A shard whose load is not known has no say.
    """
    wanted = [_enough(load.ongoing, load) for load in loads]
    return max((replicas for replicas in wanted if replicas is not None), default=None)


def generator(load: Load) -> int | None:
    """By unfinished requests: what the engines work on, and what waits to reach one.

    Not by Serve's count of ongoing calls, to which the ingress' own questions (is it there?) add:
    it is never zero for long, and the generator shall go to zero.
    """
    if load.running and load.unfinished is None:
        return None
    return _enough((load.unfinished or 0.0) + load.queued, load)


def ingress(load: Load) -> int | None:
    """By ongoing requests, streams among them: each holds its replica until its last byte."""
    return _enough(load.ongoing, load)


def _enough(work: float, load: Load) -> int | None:
    """Replicas for `work` at the target each; nothing is known of the work where none runs."""
    rule = load.rule
    if not math.isfinite(work) or work < 0:
        return None
    if load.running == 0:  # demand wakes it, and what has begun to start may finish starting
        return max(load.replicas, 1 if work > 0 else 0)
    wanted = math.ceil(work / rule.target)
    if wanted < load.replicas:
        wanted = min(load.replicas, math.ceil(work / (rule.target * FULL)))
    return min(max(wanted, rule.floor), rule.ceiling)


def fault(rule: Rule) -> str | None:
    """Why a rule would oscillate, and what to set instead; None where it would not."""
    if not rule.target >= SMALLEST_TARGET:
        return f"target_ongoing_requests is {rule.target}: set {SMALLEST_TARGET} or more"
    if not max(rule.up_factor, rule.down_factor) <= 1:
        return "upscaling_factor and downscaling_factor amplify: set 1 or less"
    if not min(rule.down_after_s, rule.to_zero_after_s) >= rule.look_back_s:
        return (
            "downscale_delay_s or downscale_to_zero_delay_s is shorter than look_back_period_s"
            f" ({rule.look_back_s} s), so the same dip counts twice: set it longer"
        )
    return None


# ── what Serve calls ─────────────────────────────────────────────────────────────────────────────


def policy(
    contexts: Mapping[D, AutoscalingContext],
) -> tuple[dict[D, float], dict[D, dict[str, object]]]:
    """Replicas wanted of each deployment that is known here; the others stay as they are."""
    names = {key: context.deployment_name for key, context in contexts.items()}
    loads = {key: _load(context) for key, context in contexts.items()}
    faults = {key: found for key, load in loads.items() if (found := fault(load.rule))}
    for key, found in faults.items():
        if contexts[key].policy_state.get("fault") != found:
            log.error("scaling_stopped deployment=%s reason=%s", names[key], found)

    wanted: dict[D, int | None] = {}
    for name, wants in (("embedder", embedder), ("generator", generator), ("api", ingress)):
        wanted |= {key: wants(loads[key]) for key in loads if names[key] == name}
    group = [key for key in loads if names[key].startswith("shard-")]
    all_shards = shards([loads[key] for key in group])
    if not faults.keys() & set(group):  # in lockstep, or not at all
        wanted |= dict.fromkeys(group, all_shards)

    decided = {
        key: float(replicas)
        for key, replicas in wanted.items()
        if replicas is not None and key not in faults
    }
    return decided, {key: {"fault": found} for key, found in faults.items()}


def _load(context: AutoscalingContext) -> Load:
    return Load(
        rule=_rule(context),
        replicas=context.target_num_replicas,
        running=context.current_num_replicas,
        ongoing=_number(context.total_num_requests),
        queued=_number(context.total_queued_requests),
        unfinished=_said(context, UNFINISHED),
    )


def _rule(context: AutoscalingContext) -> Rule:
    config = context.config
    assert config is not None  # Serve passes deployments that autoscale, and no others
    to_zero = config.downscale_to_zero_delay_s
    return Rule(
        target=config.get_target_ongoing_requests(),
        floor=context.capacity_adjusted_min_replicas,
        ceiling=context.capacity_adjusted_max_replicas,
        look_back_s=config.look_back_period_s,
        down_after_s=config.downscale_delay_s,
        to_zero_after_s=config.downscale_delay_s if to_zero is None else to_zero,
        up_factor=config.get_upscaling_factor(),
        down_factor=config.get_downscaling_factor(),
    )


def _said(context: AutoscalingContext, metric: str) -> float | None:
    """The sum of what the replicas say of themselves; None until one has."""
    by_replica = (context.aggregated_metrics or {}).get(metric)
    return sum(map(_number, by_replica.values())) if by_replica else None


def _number(value: float | None) -> float:
    """Serve has no number before the first report, and may average nothing to NaN."""
    return math.nan if value is None else float(value)
