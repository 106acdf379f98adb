"""The table of metrics, and the meters that take measurements where no Ray runs."""

import re
from pathlib import Path

import pytest

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.feedback.log import ShownLog
from serve.observe.meters import LocalMeters, meters
from serve.observe.metrics import METRICS, RAY_LABELS, READY, REQUESTS, SHOWN_DROPPED, WAITING
from serve.observe.requests import Gauges
from serve.watch import Component


def test_names_are_unique_and_labels_are_not_those_that_ray_adds() -> None:
    assert len({one.name for one in METRICS}) == len(METRICS)
    for one in METRICS:
        assert re.fullmatch(r"llmrec_[a-z_]+", one.name)
        assert not one.name.endswith("_total"), "Ray adds it"
        assert not set(one.labels) & set(RAY_LABELS)
        assert (one.kind == "histogram") == bool(one.buckets)
        assert list(one.buckets) == sorted(one.buckets)


def test_outside_a_replica_measurements_stay_in_the_process() -> None:
    assert isinstance(meters(), LocalMeters)


def test_labels_that_a_metric_does_not_have_are_refused() -> None:
    with pytest.raises(AssertionError, match="labels"):
        LocalMeters().add(REQUESTS, route="/")
    with pytest.raises(AssertionError, match="gauge"):
        LocalMeters().add(READY)


class View:
    """A service whose shard waits."""

    def serving(self) -> str | None:
        return "g-1"

    def components(self) -> list[Component]:
        return [Component("shard-0", waits_for="a replica"), Component("events", has="it")]


def test_gauges_tell_readiness_what_waits_and_what_was_lost(tmp_path: Path) -> None:
    told = LocalMeters()
    with (
        open_event_store(f"sqlite:///{tmp_path}/e.db", timeout_s=5, ttl_s=60) as store,
        ShownLog(store, capacity=1, every_s=60) as shown,
    ):
        gauges = Gauges(told, View(), shown)
        gauges.look()
        gauges.look()
    assert told.values[READY.name,] == 1
    assert told.values[WAITING.name, "shard-0"] == 1
    assert told.values[WAITING.name, "events"] == 0
    assert told.values[SHOWN_DROPPED.name,] == 0
