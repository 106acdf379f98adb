"""Bodies of one subject in, their durable effects out, and which of them can have none, and why.

A handler is a function: it returns when everything is durable, raises `Unavailable` where it should
be asked again with the same bodies, and does nothing twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from llmrec_ray.errors import EventConflict, InvalidInput
from llmrec_ray.ports import EventStore
from llmrec_ray.settings import LimitSettings
from llmrec_ray.streams.messages import read_event
from llmrec_ray.types import Event


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a list of bodies; `poison` has the reason for each that cannot be used."""

    accepted: int = 0
    duplicates: int = 0
    poison: Mapping[int, str] = field(default_factory=dict[int, str])

    def __add__(self, other: "Handled") -> "Handled":
        return Handled(
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            {**self.poison, **other.poison},
        )


Handler = Callable[[Sequence[bytes]], Handled]


def events_handler(
    store: EventStore,
    limits: LimitSettings,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Handler:
    """Events into the event store, in as few transactions as the bodies allow."""

    def handle(bodies: Sequence[bytes]) -> Handled:
        now = clock()
        usable: list[tuple[int, Event]] = []
        poison: dict[int, str] = {}
        for index, body in enumerate(bodies):
            try:
                usable.append((index, read_event(body, limits, now)))
            except InvalidInput as error:
                poison[index] = reason_of(error)
        return _append(store, usable) + Handled(poison=poison)

    return handle


def unknown_subject(subject: str) -> Handler:
    """What handles messages that nobody handles: each is poison."""

    def handle(bodies: Sequence[bytes]) -> Handled:
        reason = f"invalid_input: nothing here reads messages of the subject {subject}."
        return Handled(poison=dict.fromkeys(range(len(bodies)), reason))

    return handle


def _append(store: EventStore, events: Sequence[tuple[int, Event]]) -> Handled:
    """Store a batch; one that the store refuses is halved until what is refused stands alone.

    In order, so that of two events with one id the first is stored.
    """
    try:
        done = store.append([event for _, event in events])
    except (EventConflict, InvalidInput) as error:
        if len(events) == 1:
            return Handled(poison={events[0][0]: reason_of(error)})
        half = len(events) // 2
        return _append(store, events[:half]) + _append(store, events[half:])
    return Handled(done.accepted, done.duplicates)


def reason_of(error: EventConflict | InvalidInput) -> str:
    """Why a message is poison, as the dead letters have it."""
    return f"{error.code}: {error}"
