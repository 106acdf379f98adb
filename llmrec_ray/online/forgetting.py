"""A user or an event in, everything stored about it gone and a receipt out: all stores in one go.

The event store first, so that nothing can be written any more from what is erased; then the
exports, so that one which is being written sees the erasure at its end. Where a step fails, ask
again: each may be repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from llmrec_ray.errors import Corrupt, NotFound
from llmrec_ray.feedback.exports import without_event, without_user
from llmrec_ray.generation.published import list_generations, load_manifest
from llmrec_ray.ports import Erasure, EventStore, ObjectStore, Span


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was removed, and the generations that were trained with it until the next training.

    A generation holds no user ids. One is named where it was published before the erasure, and was
    trained with events up to a time that is not before the oldest removed one: all that learned
    from a removed event are named, and some that did not may be.
    """

    erased_at: datetime
    events: int
    recommendations: int
    exports: int
    user_version: int
    trained_with: tuple[str, ...]


def forget_user(events: EventStore, objects: ObjectStore, user_id: str) -> Receipt:
    """Forget everything stored about a user; a user who is not known gets a receipt too."""
    erased = events.erase(user_id)
    return _receipt(erased, objects, lambda: without_user(objects, user_id))


def forget_event(events: EventStore, objects: ObjectStore, event_id: str) -> Receipt:
    """Forget one event; `NotFound` where the event store does not hold it (any more)."""
    try:
        erased = events.erase_event(event_id)
    except NotFound:
        without_event(objects, event_id)  # an erasure that failed half-way may have left it there
        raise
    return _receipt(erased, objects, lambda: without_event(objects, event_id))


def _receipt(erased: Erasure, objects: ObjectStore, rewrite: Callable[[], int]) -> Receipt:
    rewritten = rewrite()
    return Receipt(
        erased_at=datetime.now(UTC),
        events=erased.events,
        recommendations=erased.recommendations,
        exports=rewritten,
        user_version=erased.user_version,
        trained_with=_trained_with(objects, erased.spans),
    )


def _trained_with(objects: ObjectStore, spans: Sequence[Span]) -> tuple[str, ...]:
    """The published generations that may have learned from what was erased."""
    if not spans:
        return ()
    names = list_generations(objects)
    return tuple(name for name in names if _learned_from(objects, name, spans))


def _learned_from(objects: ObjectStore, name: str, spans: Sequence[Span]) -> bool:
    """A manifest that cannot be read counts as trained: nobody can say that it was not."""
    try:
        made = load_manifest(objects, name)
    except Corrupt:
        return True
    except NotFound:  # it was deleted since it was listed
        return False
    until = made.trained_until
    return until is not None and any(
        until >= span.first_event and made.created_at <= span.erased_at for span in spans
    )
