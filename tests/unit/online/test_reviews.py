"""What reviews say: read once, kept with the review, exact in shares, replay and forgetting."""

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec_ray.errors import EventStoreUnavailable
from llmrec_ray.online.reviews import AT_ONCE, WAITING, Reviews
from llmrec_ray.types import (
    Event,
    EventShare,
    Float32s,
    Reading,
    Recommendations,
    RecommendRequest,
    SessionItem,
)
from tests.support.films import WORDS
from tests.unit.online.conftest import Encoder, House
from tests.unit.online.test_recommender import shares_add_up

MakeHouse = Callable[..., House]

GLOWING = "I loved this, excellent and beautiful: robot, ocean."
SCATHING = "I hated this, terrible and boring: robot, ocean."
DID = st.tuples(
    st.integers(0, 38),
    st.sampled_from(("like", "dislike", "review", "review")),
    st.sampled_from((None, 1.0, 3.0, 4.5)),
    st.sampled_from((GLOWING, SCATHING, "Of war and music.", "爱与海洋")),
    st.integers(0, 3),
)


def made(
    home: House, user: str, drawn: Sequence[tuple[int, str, float | None, str, int]]
) -> list[Event]:
    """Events, whose reviews have texts and sometimes values."""
    return [
        replace(
            home.did(user, f"f{item:02}", at=minute),
            event_id=f"{user}-{number}",
            type=kind,
            value=value if kind == "review" else None,
            text=text if kind == "review" else None,
        )
        for number, (item, kind, value, text, minute) in enumerate(drawn)
    ]


async def asked(home: House, user: str) -> Recommendations:
    return await home.recommender.recommend(
        RecommendRequest(user_id=user, limit=40, exclude_seen=False, evidence=True)
    )


def scores(answer: Recommendations) -> dict[str, float]:
    return {item.item_id: item.score for item in answer.items}


def share_of(answer: Recommendations, item_id: str, event_id: str) -> EventShare:
    (item,) = (one for one in answer.items if one.item_id == item_id)
    assert item.evidence is not None
    (share,) = (one for one in item.evidence.shares if one.event_id == event_id)
    return share


async def test_a_review_pulls_by_its_text_from_the_next_answer_on(house: MakeHouse) -> None:
    home = house()
    plain, said = home.did("ada", "f01", "review"), home.did("bob", "f01", "review", text=GLOWING)
    await home.recommender.learn([replace(plain, text=None)])
    learned = await home.recommender.learn([said])
    assert learned.user_versions == {"bob": 2}
    silent, loud = await asked(home, "ada"), await asked(home, "bob")
    shares_add_up(loud)
    there, here = scores(silent), scores(loud)
    vector = home.encoder.model.queries([GLOWING])[0]
    assert loud.user_version == 2
    for item_id, near in (await nearness(home, vector)).items():
        assert math.copysign(1, here[item_id] - there[item_id]) == math.copysign(1, near)
    share = share_of(loud, "f39" if "f39" in here else "f14", said.event_id)
    assert (share.type, share.item_id, share.title) == ("review", "f01", "Film 1")


async def nearness(home: House, vector: Float32s) -> dict[str, float]:
    """The items whose texts are clearly near to a vector or away from it, and how much."""
    ids = [f"f{n:02}" for n in range(39)]
    found = await home.recommender._searcher.lookup(home.manifest.generation, ids)
    near = {name: float(one @ vector) for name, one in found.vectors.items()}
    return {name: value for name, value in near.items() if abs(value) > 0.05}


async def test_a_scathing_review_pushes_away_what_is_like_its_text(house: MakeHouse) -> None:
    home = house()
    good = home.did("good", "f01", "review", value=5.0, text="robot ocean")
    bad = home.did("bad", "f01", "review", value=1.0, text="robot ocean")
    await home.recommender.learn([good, bad])
    silent = {
        user: replace(one, event_id=f"s{user}", user_id=f"s{user}", text=None)
        for user, one in (("good", good), ("bad", bad))
    }
    home.events.append(list(silent.values()))
    told = {user: scores(await asked(home, user)) for user in ("good", "bad", "sgood", "sbad")}
    vector = home.encoder.model.queries(["robot ocean"])[0]
    for item_id, near in (await nearness(home, vector)).items():
        up = told["good"][item_id] - told["sgood"][item_id]
        down = told["bad"][item_id] - told["sbad"][item_id]
        assert up * near > 0
        assert down == pytest.approx(-up, abs=1e-9)


def test_shares_sum_and_erased_reviews_leave_the_answer_of_one_who_never_wrote_them(
    house: MakeHouse,
) -> None:
    erasing, never = house(3, "erasing"), house(1, "never")
    numbers = itertools.count()

    @settings(max_examples=20)
    @given(st.lists(DID, min_size=1, max_size=10), st.randoms(use_true_random=False))
    def holds(drawn: list[tuple[int, str, float | None, str, int]], dice: random.Random) -> None:
        user = f"p{next(numbers)}"
        events = made(erasing, user, drawn)
        gone = {one.event_id for one in events if dice.random() < 0.4}
        asyncio.run(erasing.recommender.learn(events))
        shares_add_up(asyncio.run(asked(erasing, user)))
        for event_id in sorted(gone):
            asyncio.run(erasing.recommender.forget_event(event_id))
        left = [one for one in events if one.event_id not in gone]
        dice.shuffle(left)
        for one in left:
            asyncio.run(never.recommender.learn([one]))
        there, here = asyncio.run(asked(erasing, user)), asyncio.run(asked(never, user))
        assert there.items == here.items

    holds()


async def test_answers_with_reviews_are_replayed_on_other_numbers_of_shards(
    house: MakeHouse,
) -> None:
    home, dice = house(2), random.Random(5)
    ids: list[str] = []
    for number in range(40):
        user = f"r{dice.randrange(5)}"
        text = f"{dice.choice((GLOWING, SCATHING))} {dice.choice(WORDS)}"
        value = dice.choice((None, 1.0, 4.0))
        event = home.did(
            user, f"f{dice.randrange(39):02}", "review", at=number, value=value, text=text
        )
        home.encoder.lost = dice.random() < 0.3
        await home.recommender.learn([event])
        entry = SessionItem("f03", None, "review", value, text)
        visited = (entry, SessionItem("f04", None, "rating", 2.0)) if dice.random() < 0.5 else ()
        asked_for = RecommendRequest(user_id=user, session=visited, limit=20, evidence=True)
        answer = await home.recommender.recommend(asked_for)
        shares_add_up(answer)
        ids.append(answer.recommendation_id)
        home.encoder.lost = False
        await home.recommender._reviews.settled()
    home.shown.flush()
    for shards in (1, 2, 5):
        again = house(shards, folder=home.folder)
        again.encoder.lost = True
        for name in ids:
            assert (await again.recommender.replay(name)).identical


async def test_a_review_that_could_not_be_read_is_kept_and_read_when_its_user_asks(
    house: MakeHouse,
) -> None:
    home, whole = house(name="away"), house(name="whole")
    event = home.did("ada", "f01", "review", text=GLOWING)
    await whole.recommender.learn([event])
    home.encoder.lost = True
    learned = await home.recommender.learn([event])
    assert (learned.accepted, learned.user_versions) == (1, {"ada": 1})
    unread = await asked(home, "ada")
    await home.recommender._reviews.settled()
    assert (await asked(home, "ada")).items == unread.items
    home.encoder.lost = False
    home.recommender._users.forget("ada")
    assert (await asked(home, "ada")).items == unread.items
    await home.recommender._reviews.settled()
    after = await asked(home, "ada")
    assert (after.user_version, after.items) == (2, (await asked(whole, "ada")).items)
    assert after.items != unread.items


async def test_no_encoder_is_asked_at_read_time(house: MakeHouse) -> None:
    home = house()
    await home.recommender.learn([home.did("ada", "f01", "review", text=GLOWING)])
    home.encoder.read_texts.clear()
    again = house(folder=home.folder)
    assert (await asked(again, "ada")).items == (await asked(home, "ada")).items
    await again.recommender._reviews.settled()
    assert home.encoder.read_texts == again.encoder.read_texts == []


async def test_what_another_encoder_read_is_left_out_and_never_mixed(house: MakeHouse) -> None:
    home = house()
    event = home.did("ada", "f01", "review", text=GLOWING)
    home.events.append([event, replace(event, event_id="b1", user_id="bob", text=None)])
    home.events.keep_readings({event.event_id: Reading("of another encoder", 1.0, b"\0" * 4 * 7)})
    home.encoder.lost = True
    assert scores(await asked(home, "ada")) == scores(await asked(home, "bob"))


async def test_a_lost_event_store_leaves_the_last_known_opinions(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = house()
    await home.recommender.learn([home.did("ada", "f01", "review", text=GLOWING)])
    known = await asked(home, "ada")

    def away(user_id: str) -> int:
        raise EventStoreUnavailable(f"the database is away for {user_id}")

    monkeypatch.setattr(home.events, "user_version", away)
    again = await asked(home, "ada")
    assert (again.degraded, again.items) == (("feedback",), known.items)


async def test_a_session_with_reviews_counts_as_the_same_user_would(house: MakeHouse) -> None:
    home = house()
    told = [
        home.did("ada", "f01", "review", at=1, text=GLOWING),
        home.did("ada", "f02", "rating", at=2, value=1.0),
        home.did("ada", "f03", "review", at=3, value=2.0, text=SCATHING),
        home.did("ada", "f04", "purchase", at=4),
    ]
    await home.recommender.learn(told)
    visited = tuple(SessionItem(one.item_id, None, one.type, one.value, one.text) for one in told)
    request = RecommendRequest(session=visited, limit=40, exclude_seen=False, evidence=True)
    answer = await home.recommender.recommend(request)
    shares_add_up(answer)
    assert scores(answer) == scores(await asked(home, "ada"))
    assert answer.degraded == ()


async def test_a_session_review_that_cannot_be_read_degrades_the_answer(house: MakeHouse) -> None:
    home = house()
    home.encoder.lost = True
    visited = (SessionItem("f01", None, "review", None, GLOWING),)
    answer = await home.recommender.recommend(RecommendRequest(session=visited, evidence=True))
    shares_add_up(answer)
    assert answer.degraded == ("embed",)


class Slow(Encoder):
    """A pool that never answers about one text, and counts how many it has at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    async def read(self, text: str) -> Reading:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await (asyncio.Event().wait() if text == "endless" else asyncio.sleep(0))
        finally:
            self.now -= 1
        return await super().read(text)


async def test_a_batch_does_not_fill_the_pool(house: MakeHouse) -> None:
    home, slow = house(), Slow()
    texts = {str(n): f"text {n}" for n in range(100)}
    found = await Reviews(home.events, slow, within_s=60).readings(texts)
    assert set(found) == set(texts)
    assert (slow.most, slow.now) == (AT_ONCE, 0)


async def test_a_text_that_is_never_read_holds_nobody_up_for_ever(house: MakeHouse) -> None:
    home, slow = house(), Slow()
    found = await Reviews(home.events, slow, within_s=0.01).readings({"late": "endless"})
    assert (found, slow.now) == ({}, 0)


async def test_reviews_that_wait_are_bounded(house: MakeHouse) -> None:
    home = house()
    reviews = Reviews(home.events, home.encoder)
    told = home.did("ada", "f01", "review", text=GLOWING)
    many = [replace(told, event_id=f"e{n}", text=str(n)) for n in range(WAITING + 50)]
    reviews.later(many)
    reviews.later(many[WAITING:])
    assert len(reviews._waiting) == WAITING
    await reviews.settled()
    assert (len(reviews._waiting), len(home.encoder.read_texts)) == (0, WAITING)
