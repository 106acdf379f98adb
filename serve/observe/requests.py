"""A request's course in; a log line without user data, `Server-Timing` and metrics out."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import Scope

from llmrec_ray.explain.explainer import Fallback
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.timing import Stages, measured
from llmrec_ray.types import Explanation
from serve.observe import metrics
from serve.observe.meters import Meters
from serve.watch import Component

log = logging.getLogger("ray.serve")

TIMING = "Server-Timing"
UNMATCHED = "none"
QUIET = frozenset({"/livez", "/readyz"})
"""Asked every few seconds by probes: counted, and not logged where they succeed."""


@dataclass(slots=True)
class Seen:
    """What is known of a request while it runs."""

    stages: Stages
    status: int = 500
    generation: str | None = None
    degraded: Sequence[str] = field(default_factory=tuple)

    def timing(self) -> str:
        """The value of `Server-Timing`: milliseconds by stage so far, then their total."""
        parts = [*self.stages.spent.items(), ("total", self.stages.total)]
        return ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in parts)


_seen: ContextVar[Seen | None] = ContextVar("seen", default=None)


def note(*, generation: str, degraded: Sequence[str]) -> None:
    """Remember what the running request was answered from, and what its answer lacks."""
    if (seen := _seen.get()) is not None:
        seen.generation, seen.degraded = generation, degraded


class Observer:
    """Tells of every request once it has ended."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def begin(self) -> Seen:
        """Measure the current task from here on."""
        seen = Seen(measured())
        _seen.set(seen)
        return seen

    def end(self, seen: Seen, scope: Scope, request_id: str) -> None:
        """One line and a few numbers; a path may name users, so its route's pattern is told."""
        route: str = getattr(scope.get("route"), "path", UNMATCHED)
        status, degraded, total = str(seen.status), ",".join(seen.degraded), seen.stages.total
        self._meters.add(metrics.REQUESTS, route=route, status=status, degraded=degraded)
        self._meters.observe(metrics.REQUEST_SECONDS, total, route=route)
        for stage, seconds in seen.stages.spent.items():
            self._meters.observe(metrics.STAGE_SECONDS, seconds, stage=stage)
        if route in QUIET and seen.status < 400:
            return
        log.info(
            "request_answered",
            extra={
                "http_route": route,  # Serve's own fields are `route` and `request_id`
                "http_status": seen.status,
                "http_request_id": request_id,
                "took_ms": round(total * 1000, 1),
                "generation": seen.generation,
                "degraded": list(seen.degraded),
            },
        )


def counted_explanations(meters: Meters) -> Callable[[Explanation, Fallback | None], None]:
    """What an `Explainer` tells of each explanation, counted."""

    def told(said: Explanation, fallback: Fallback | None) -> None:
        meters.add(metrics.EXPLANATIONS, source=said.source)
        if fallback is not None:
            meters.add(metrics.FALLBACKS, reason=fallback)

    return told


class View(Protocol):
    """What an ingress replica knows of the service (`serve.watch.Watch`)."""

    def serving(self) -> str | None: ...

    def components(self) -> Sequence[Component]: ...


class Gauges:
    """What changes without a request: readiness, and shown answers that wait or were lost."""

    def __init__(self, meters: Meters, view: View, shown: ShownLog) -> None:
        self._meters = meters
        self._view = view
        self._shown = shown
        self._dropped = 0

    def look(self) -> None:
        """Measure once."""
        self._meters.set(metrics.READY, self._view.serving() is not None)
        for part in self._view.components():
            waits = part.waits_for is not None
            self._meters.set(metrics.WAITING, waits, component=part.name)
        dropped = self._shown.dropped
        self._meters.set(metrics.SHOWN_PENDING, self._shown.pending)
        self._meters.add(metrics.SHOWN_DROPPED, dropped - self._dropped)
        self._dropped = dropped

    async def run(self, every_s: float) -> None:
        """Measure until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(every_s)
