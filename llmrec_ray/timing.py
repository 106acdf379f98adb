"""Named stages of one request in, seconds spent in each out; nothing is measured unless asked for.

`measured` begins a measurement for the current task and those it starts; `stage` adds to it from
anywhere below, and costs a look at a context variable where nobody measures.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Stage = Literal["user", "gather", "embed", "search", "rank", "explain"]

_running: ContextVar["Stages | None"] = ContextVar("stages", default=None)


class Stages:
    """How long each stage of a request took so far; a stage that runs twice adds up."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._spent: dict[Stage, float] = {}

    @property
    def spent(self) -> dict[Stage, float]:
        """Seconds by stage, in the order in which the stages first ended."""
        return dict(self._spent)

    @property
    def total(self) -> float:
        """Seconds since the measurement began."""
        return time.perf_counter() - self._since

    def add(self, name: Stage, seconds: float) -> None:
        self._spent[name] = self._spent.get(name, 0.0) + seconds


def measured() -> Stages:
    """Begin to measure the current task, and the tasks it starts from here on."""
    stages = Stages()
    _running.set(stages)
    return stages


def running() -> Stages | None:
    """The measurement that the current task belongs to."""
    return _running.get()


@contextmanager
def stage(name: Stage) -> Generator[None]:
    """Add the block's time to the measurement that runs, also where the block fails."""
    stages = _running.get()
    if stages is None:
        yield
        return
    since = time.perf_counter()
    try:
        yield
    finally:
        stages.add(name, time.perf_counter() - since)
