"""Shown recommendations in, batches for the event store out: no answer waits for the store."""

import logging
from collections import deque
from collections.abc import Callable, Collection
from threading import Event as Signal
from threading import Lock, Thread
from types import TracebackType
from typing import Self

from llmrec_ray.errors import EventStoreUnavailable, LLMRecError
from llmrec_ray.feedback.rows import storable, user_key
from llmrec_ray.ports import EventStore
from llmrec_ray.types import Question, Recommendations, Shown

_log = logging.getLogger(__name__)


class ShownLog:
    """A bounded buffer in front of `EventStore.record`, emptied by a thread of its own.

    Holds at most `capacity` answers: when the store is too slow or away, the oldest go and are
    counted. `close` hands over what is left.
    """

    def __init__(
        self, store: EventStore, *, capacity: int, batch: int = 500, every_s: float = 0.5
    ) -> None:
        self._store = store
        self._batch = min(batch, capacity)
        self._every_s = every_s
        self._waiting: deque[Shown] = deque(maxlen=capacity)
        self._dropped = 0
        self._changing = Lock()  # held for moments: guards the buffer and the count
        self._flushing = Lock()  # held while the store works: one flush at a time
        self._closing = Signal()
        self._wake = Signal()
        self._thread = Thread(target=self._run, name="shown-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many answers were lost since the start."""
        return self._dropped

    @property
    def pending(self) -> int:
        """How many answers wait to be stored."""
        return len(self._waiting)

    def add(
        self, user_id: str | None, answer: Recommendations, question: Question | None = None
    ) -> None:
        """Remember one answer, and what it was computed from; never waits for the store."""
        with self._changing:
            self._dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(Shown(user_id, answer, question))
            full = len(self._waiting) >= self._batch
        if full:
            self._wake.set()

    def forget(self, user_id: str) -> int:
        """Take out what waits for a user, and count it; the store refuses what comes later."""
        return self._take_out(lambda shown: shown.user_id == user_id)

    def forget_keys(self, keys: Collection[bytes]) -> int:
        """As `forget`, for users that are known by their digests alone (`rows.user_key`)."""
        return self._take_out(
            lambda shown: (
                shown.user_id is not None
                and storable(shown.user_id)
                and user_key(shown.user_id) in keys
            )
        )

    def flush(self) -> None:
        """Store everything added before this call; `EventStoreUnavailable` leaves it waiting."""
        with self._flushing:
            while batch := self._take():
                try:
                    self._store.record(batch)
                except EventStoreUnavailable:
                    self._put_back(batch)
                    raise
                except LLMRecError as error:  # this batch can never be stored; later ones may
                    self._lose(len(batch), error.code)

    def close(self) -> None:
        """Stop the thread and store what is left; what the store does not take is dropped."""
        self._closing.set()
        self._wake.set()
        self._thread.join()
        while left := self._take():
            self._lose(len(left), "closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        last = False
        while not last:
            self._wake.wait(self._every_s)
            self._wake.clear()
            last = self._closing.is_set()
            try:
                self.flush()
            except EventStoreUnavailable as error:
                _log.warning("shown_waits", extra={"error": error.code, "pending": self.pending})
                self._closing.wait(self._every_s)  # a full buffer must not hammer a lost store

    def _take_out(self, chosen: Callable[[Shown], bool]) -> int:
        with self._changing:
            waiting = len(self._waiting)
            others = [one for one in self._waiting if not chosen(one)]
            self._waiting.clear()
            self._waiting.extend(others)
            return waiting - len(others)

    def _take(self) -> list[Shown]:
        with self._changing:
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _put_back(self, batch: list[Shown]) -> None:
        """The batch is older than what waits: where there is no room, its oldest go."""
        with self._changing:
            assert self._waiting.maxlen is not None
            lost = max(0, len(batch) + len(self._waiting) - self._waiting.maxlen)
            self._waiting.extendleft(reversed(batch[lost:]))
            self._dropped += lost

    def _lose(self, answers: int, why: str) -> None:
        with self._changing:
            self._dropped += answers
        _log.error("shown_lost", extra={"answers": answers, "error": why})
