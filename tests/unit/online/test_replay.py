"""Replay: a stored recommendation is computed again bit for bit, however the service stands now."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from llmrec_ray.errors import Erased, GenerationNotFound, NotFound, NotReplayable
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.types import (
    AllOf,
    AnyOf,
    Filter,
    Not,
    Range,
    RecommendRequest,
    SessionItem,
)
from tests.support.films import WORDS
from tests.unit.online.conftest import House

MakeHouse = Callable[..., House]

FILTERS: tuple[Filter | None, ...] = (
    None,
    None,
    AnyOf("genres", ("ocean", "robot")),
    AnyOf("year", (1990.0, 1991.0, 2001.0)),
    Range("year", gte=1985, lt=2005.5),
    Not(AnyOf("genres", ("war",))),
    AllOf((Range("year", gt=1981), Not(Range("year", lte=1989.0)))),
)


def question(dice: random.Random) -> RecommendRequest:
    """A user, a session, a text or several of them, filtered and with exclusions as it comes."""
    kinds = dice.choice(("u", "s", "t", "us", "ut", "st", "ust"))
    visited = [
        SessionItem(f"f{dice.randrange(39):02}", dice.choice((1.0, -0.3, 1 / 3))) for _ in range(3)
    ]
    return RecommendRequest(
        user_id=f"r{dice.randrange(20)}" if "u" in kinds else None,
        session=tuple(visited) if "s" in kinds else (),
        text=" ".join(dice.sample(WORDS, 2)) if "t" in kinds else None,
        limit=dice.randint(1, 20),
        filter=dice.choice(FILTERS),
        exclude_ids=frozenset(f"f{dice.randrange(39):02}" for _ in range(dice.randrange(4))),
        exclude_seen=dice.random() < 0.8,
        evidence=dice.random() < 0.5,
    )


async def asked(home: House, count: int) -> list[str]:
    """Ask `count` times while events come in; the ids of the answers, all stored."""
    dice = random.Random(7)
    ids: list[str] = []
    for number in range(count):
        if dice.random() < 0.3:
            user, item = f"r{dice.randrange(20)}", f"f{dice.randrange(39):02}"
            kind = dice.choice(("like", "view", "dislike"))
            home.events.append([home.did(user, item, kind, at=number)])
        ids.append((await home.recommender.recommend(question(dice))).recommendation_id)
    home.shown.flush()
    home.events.append([home.did(f"r{number}", "f00", at=9999) for number in range(20)])
    return ids


async def replays_identically(home: House, ids: list[str]) -> None:
    for name in ids:
        replay = await home.recommender.replay(name)
        assert replay.identical, (replay, home.events.shown(name).question)
        assert replay.again.user_version == replay.stored.user_version


async def test_an_answer_is_replayed_after_restarts_on_other_numbers_of_shards(
    house: MakeHouse,
) -> None:
    home = house(2)
    ids = await asked(home, 60)
    for shards in (2, 1, 8):
        await replays_identically(house(shards, folder=home.folder), ids)


@pytest.mark.long
async def test_a_thousand_answers_are_replayed_on_1_2_4_and_8_shards(house: MakeHouse) -> None:
    home = house(2)
    ids = await asked(home, 1_000)
    for shards in (1, 2, 4, 8):
        await replays_identically(house(shards, folder=home.folder), ids)


async def test_a_changed_answer_is_told_from_an_identical_one(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0"))
    home.shown.flush()
    stored = home.events.shown(answer.recommendation_id)
    first = replace(answer.items[0], score=answer.items[0].score * (1 + 2**-52))
    changed = replace(
        stored, answer=replace(answer, recommendation_id="x", items=(first, *answer.items[1:]))
    )
    home.events.record([changed])
    assert not (await home.recommender.replay("x")).identical


async def test_the_text_of_a_question_is_not_embedded_again(house: MakeHouse) -> None:
    home = house()
    request = RecommendRequest(text="robots at sea")
    answer = await home.recommender.recommend(request)
    home.shown.flush()
    stored = home.events.shown(answer.recommendation_id).question
    assert stored is not None
    vector = await home.recommender._now.embedder.embed("robots at sea")
    assert stored.vector == vector.tobytes()
    assert stored.request == request


async def test_an_answer_to_an_erased_user_is_gone(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0"))
    home.shown.flush()
    await home.recommender.forget("u0")
    with pytest.raises(Erased, match="was erased"):
        await home.recommender.replay(answer.recommendation_id)
    with pytest.raises(NotFound, match="never made"):
        await home.recommender.replay("never")


async def test_an_answer_without_its_question_cannot_be_replayed(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0"))
    home.shown.flush()
    shown = home.events.shown(answer.recommendation_id)
    other = replace(shown.answer, recommendation_id="old")
    home.events.record([replace(shown, answer=other, question=None)])
    with pytest.raises(NotReplayable, match="earlier release"):
        await home.recommender.replay("old")


async def test_a_generation_that_is_not_held_or_gone_is_named(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0"))
    home.shown.flush()
    elsewhere = Pinned()
    elsewhere.offer(
        home.manifest.model_copy(update={"generation": "g-new"}), [frozenset({"g-new"})]
    )
    home.recommender._generations = elsewhere
    with pytest.raises(NotReplayable, match=f"Activate {home.manifest.generation}"):
        await home.recommender.replay(answer.recommendation_id)
    home.objects.delete(f"generations/{home.manifest.generation}/manifest.json")
    with pytest.raises(GenerationNotFound):
        await home.recommender.replay(answer.recommendation_id)
