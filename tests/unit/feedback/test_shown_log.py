"""The log of shown answers: bounded, off the request path, and losing nothing silently."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Signal

import pytest

from llmrec_ray.errors import EventStoreUnavailable, InvalidInput, NotFound
from llmrec_ray.feedback.database import connect
from llmrec_ray.feedback.events import SqlEventStore
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.types import Coverage, Recommendations, Shown

HOUR = 3600.0
NEVER = 10_000.0


class Gate(SqlEventStore):
    """A real store whose `record` waits, fails or refuses on command."""

    def __init__(self, file: Path) -> None:
        engine = connect(f"sqlite:///{file}", timeout_s=5)
        super().__init__(engine, ttl_s=HOUR, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC))
        self.open, self.entered, self.stored = Signal(), Signal(), Signal()
        self.open.set()
        self.away = False
        self.calls: list[int] = []

    def record(self, shown: Sequence[Shown]) -> None:
        self.entered.set()
        assert self.open.wait(30)
        self.calls.append(len(shown))
        if self.away:
            raise EventStoreUnavailable("the store is away for this test.")
        super().record(shown)
        self.stored.set()

    def names(self, *candidates: str) -> list[str]:
        return [name for name in candidates if self._has(name)]

    def _has(self, name: str) -> bool:
        try:
            return self.recommendation(name).recommendation_id == name
        except NotFound:
            return False


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Gate]:
    with Gate(tmp_path / "events.db") as gate:
        yield gate
        gate.open.set()


def answer(name: str) -> Recommendations:
    return Recommendations(name, "g1", 1, (), Coverage(1, 1))


def test_a_flush_stores_everything_added_before_it(store: Gate):
    with ShownLog(store, capacity=10, batch=10, every_s=NEVER) as log:
        log.add("ada", answer("r1"))
        log.add(None, answer("r2"))
        assert log.pending == 2
        log.flush()
        assert (log.pending, log.dropped) == (0, 0)
        assert store.names("r1", "r2") == ["r1", "r2"]
    assert store.calls == [2]


def test_the_thread_stores_answers_by_itself(store: Gate):
    with ShownLog(store, capacity=10, every_s=0.001) as log:
        log.add("ada", answer("r1"))
        assert store.stored.wait(30)
        assert store.names("r1") == ["r1"]


def test_a_full_batch_is_stored_before_its_time(store: Gate):
    with ShownLog(store, capacity=10, batch=2, every_s=NEVER) as log:
        log.add("ada", answer("r1"))
        log.add("ada", answer("r2"))
        assert store.stored.wait(30)


def test_close_stores_what_is_left(store: Gate):
    log = ShownLog(store, capacity=10, batch=10, every_s=NEVER)
    for number in range(5):
        log.add("ada", answer(f"r{number}"))
    log.close()
    assert len(store.names(*(f"r{number}" for number in range(5)))) == 5
    assert log.dropped == 0


def test_a_slow_store_never_holds_up_an_answer_and_the_oldest_go(store: Gate):
    store.open.clear()
    with ShownLog(store, capacity=3, batch=3, every_s=0.001) as log:
        log.add("ada", answer("first"))
        assert store.entered.wait(30)
        for number in range(5):
            log.add("ada", answer(f"r{number}"))
        assert (log.pending, log.dropped) == (3, 2)
        store.open.set()
    assert store.names("first", "r0", "r1", "r2", "r3", "r4") == ["first", "r2", "r3", "r4"]


def test_a_store_that_is_away_leaves_answers_waiting_in_order(store: Gate):
    with ShownLog(store, capacity=3, batch=2, every_s=NEVER) as log:
        store.away = True
        log.add("ada", answer("r1"))
        with pytest.raises(EventStoreUnavailable):
            log.flush()
        assert (log.pending, log.dropped) == (1, 0)
        store.away = False
        log.flush()
        assert store.names("r1") == ["r1"]


def test_what_a_lost_store_never_takes_is_counted_at_close(store: Gate):
    store.away = True
    log = ShownLog(store, capacity=3, batch=3, every_s=NEVER)
    log.add("ada", answer("r1"))
    log.add("ada", answer("r2"))
    log.close()
    assert (log.pending, log.dropped) == (0, 2)


def test_an_answer_that_can_never_be_stored_does_not_stop_the_next(store: Gate):
    with ShownLog(store, capacity=10, batch=10, every_s=NEVER) as log:
        log.add("\ud800", answer("r1"))
        log.flush()
        log.add("ada", answer("r2"))
        log.flush()
        assert (store.names("r1", "r2"), log.dropped) == (["r2"], 1)
    with pytest.raises(InvalidInput):
        store.record([Shown("\ud800", answer("r3"))])


def test_a_forgotten_users_answers_are_taken_out_and_not_counted(store: Gate):
    with ShownLog(store, capacity=10, batch=10, every_s=NEVER) as log:
        log.add("ada", answer("r1"))
        log.add("bob", answer("r2"))
        log.forget("ada")
        log.flush()
        assert (store.names("r1", "r2"), log.dropped) == (["r2"], 0)
