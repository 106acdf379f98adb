"""Forgetting: what was erased is as if it had never been; the receipt says what learned of it."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec_ray.errors import NotFound
from llmrec_ray.feedback.exports import export_events
from llmrec_ray.feedback.user import fold
from llmrec_ray.types import Event, EventType, RecommendRequest, UserState
from tests.unit.online.conftest import START, House

MakeHouse = Callable[..., House]

TYPES: tuple[EventType, ...] = ("view", "click", "like", "dislike", "rating", "purchase")
DID = st.tuples(
    st.integers(0, 38), st.sampled_from(TYPES), st.integers(1, 5), st.integers(0, 3), st.booleans()
)


@dataclass(frozen=True)
class Did:
    """Something a user did, and whether it is erased afterwards."""

    event: Event
    erased: bool


def made(user: str, drawn: Sequence[tuple[int, EventType, int, int, bool]]) -> list[Did]:
    return [
        Did(
            Event(
                event_id=f"{user}-{number}",
                user_id=user,
                item_id=f"f{item:02}",
                type=kind,
                time=START + timedelta(minutes=minute),
                value=float(value) if kind == "rating" else None,
            ),
            erased,
        )
        for number, (item, kind, value, minute, erased) in enumerate(drawn)
    ]


def state(home: House, user: str) -> UserState:
    return fold(home.events.history(user, 500), home.manifest.weights)


def shown(home: House, user: str) -> object:
    request = RecommendRequest(user_id=user, limit=40, evidence=True)
    return asyncio.run(home.recommender.recommend(request)).items


def test_erased_events_leave_the_state_and_the_answer_of_one_who_never_did_them(
    house: MakeHouse,
) -> None:
    erasing, never = house(3, "erasing"), house(2, "never")
    numbers = itertools.count()

    @settings(max_examples=20)
    @given(st.lists(DID, min_size=1, max_size=12), st.booleans())
    def holds(drawn: list[tuple[int, EventType, int, int, bool]], forgotten_before: bool) -> None:
        user = f"p{next(numbers)}"
        done = made(user, drawn)
        if forgotten_before:
            erasing.events.append([Event("old-" + user, user, "f01", "like", START)])
            asyncio.run(erasing.recommender.forget(user))
        for one in done:
            erasing.events.append([one.event])
        shown(erasing, user)
        for one in done:
            if one.erased:
                asyncio.run(erasing.recommender.forget_event(one.event.event_id))
        never.events.append([one.event for one in done if not one.erased])
        there, here = state(erasing, user), state(never, user)
        assert (there.events, there.seen) == (here.events, here.seen)
        assert shown(erasing, user) == shown(never, user)

    holds()


async def test_an_erased_event_takes_the_answers_that_may_have_seen_it(house: MakeHouse) -> None:
    home = house()
    ask = home.recommender.recommend
    await home.recommender.learn([home.did("ada", "f01")])
    before = await ask(RecommendRequest(user_id="ada"))
    await home.recommender.learn([home.did("ada", "f02", at=1)])
    after = await ask(RecommendRequest(user_id="ada"))
    home.shown.flush()
    receipt = await home.recommender.forget_event("ada-f02-like-1")
    assert (receipt.events, receipt.recommendations, receipt.user_version) == (1, 1, 3)
    assert home.events.recommendation(before.recommendation_id) == before
    with pytest.raises(NotFound):
        home.events.recommendation(after.recommendation_id)


async def test_an_event_that_is_not_stored_is_named(house: MakeHouse) -> None:
    with pytest.raises(NotFound, match="'nope'"):
        await house().recommender.forget_event("nope")


async def test_an_event_that_was_erased_does_not_come_back_when_it_is_sent_again(
    house: MakeHouse,
) -> None:
    home = house()
    event = home.did("ada", "f01")
    await home.recommender.learn([event])
    await home.recommender.forget_event(event.event_id)
    again = await home.recommender.learn([event])
    assert (again.accepted, again.duplicates, again.user_versions) == (0, 1, {"ada": 2})
    assert home.events.history("ada", 10).events == ()


async def test_the_receipt_names_the_generations_that_learned_from_the_user(
    house: MakeHouse,
) -> None:
    home = house()
    receipt = await home.recommender.forget("u0")
    assert receipt.trained_with == (home.manifest.generation,)
    assert (await home.recommender.forget("u0")).trained_with == receipt.trained_with
    assert (await home.recommender.forget("never seen")).trained_with == ()
    await home.recommender.learn([home.did("late", "f01")])  # newer than what was trained
    assert (await home.recommender.forget("late")).trained_with == ()


async def test_another_process_drops_what_it_remembers_of_an_erased_user(house: MakeHouse) -> None:
    here = house(name="one")
    there = house(folder=here.folder)
    await there.recommender.recommend(RecommendRequest(user_id="u0"))
    assert (there.shown.pending, "u0" in there.recommender._users._known) == (1, True)
    await here.recommender.forget("u0")
    await there.recommender.follow_erasures()
    assert (there.shown.pending, "u0" in there.recommender._users._known) == (0, False)


async def test_exports_are_rewritten_without_an_erased_user_and_an_erased_event(
    house: MakeHouse,
) -> None:
    home = house()
    await home.recommender.learn([home.did("ada", "f01"), home.did("bob", "f01")])
    first = export_events(home.objects, home.events, "first")
    export_events(home.objects, home.events, "second")
    receipt = await home.recommender.forget("ada")
    assert receipt.exports == 2
    assert (await home.recommender.forget_event("bob-f01-like-0")).exports == 2
    left = export_events(home.objects, home.events, "third")
    assert left.events == first.events - 2
    kept = [key.rpartition("-")[2] for key in home.objects.list("exports/")]
    assert len(kept) == 3
    assert len(set(kept)) == 1  # the rewritten parts are what an export of now writes
