"""Measurements in; Ray's metrics export out, or this process's memory where no Ray runs."""

from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any, Protocol

from ray import serve
from ray.serve import metrics
from ray.serve.exceptions import RayServeException

from serve.observe.metrics import Metric


class Meters(Protocol):
    """Where measurements go; labels are the metric's, each with a value."""

    def add(self, metric: Metric, by: float = 1, **labels: str) -> None: ...

    def set(self, metric: Metric, value: float, **labels: str) -> None: ...

    def observe(self, metric: Metric, value: float, **labels: str) -> None: ...


class RayMeters:
    """Measurements to Ray's metrics agent; a metric is registered when it is first used."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}  # three classes of Ray without a common interface

    def add(self, metric: Metric, by: float = 1, **labels: str) -> None:
        if by > 0:  # Ray refuses to count nothing
            self._of(metric).inc(by, labels)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        self._of(metric).set(value, labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        self._of(metric).observe(value, labels)

    def _of(self, metric: Metric) -> Any:
        if metric.name not in self._made:
            self._made[metric.name] = _registered(metric)
        return self._made[metric.name]


def _registered(metric: Metric) -> Any:
    labels: Any = metric.labels  # Ray's annotation says a tuple of one
    if metric.kind == "counter":
        return metrics.Counter(metric.name, metric.meaning, labels)
    if metric.kind == "gauge":
        return metrics.Gauge(metric.name, metric.meaning, labels)
    return metrics.Histogram(metric.name, metric.meaning, list(metric.buckets), labels)


class LocalMeters:
    """Measurements kept in this process, where no Ray runs; labels are checked."""

    def __init__(self) -> None:
        self.values: Tally[tuple[str, ...]] = Tally()
        """Counts, gauges, numbers of observations; by name and label values in their order."""

    def add(self, metric: Metric, by: float = 1, **labels: str) -> None:
        self.values[_series(metric, "counter", labels)] += int(by)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        self.values[_series(metric, "gauge", labels)] = int(value)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        assert value >= 0
        self.values[_series(metric, "histogram", labels)] += 1


def _series(metric: Metric, kind: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    assert metric.kind == kind, f"{metric.name} is a {metric.kind}"
    assert set(labels) == set(metric.labels), f"{metric.name} has the labels {metric.labels}"
    return (metric.name, *(labels[label] for label in metric.labels))


def meters() -> Meters:
    """The meters of this process: Ray's inside a replica, else ones that keep to themselves."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return LocalMeters()
    return RayMeters()
