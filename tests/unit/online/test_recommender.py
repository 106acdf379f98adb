"""The recommender on real parts: additive scores, exact shares, feedback that shows at once."""

import math
from collections.abc import Callable

import pytest

from llmrec_ray.errors import GenerationMissing, InvalidFilter, ItemNotFound
from llmrec_ray.types import (
    AnyOf,
    Explanation,
    Recommendations,
    RecommendRequest,
    Scope,
    SessionItem,
)
from tests.unit.online.conftest import House

MakeHouse = Callable[..., House]


def shares_add_up(answer: Recommendations) -> None:
    assert answer.items
    for item in answer.items:
        assert item.evidence is not None
        total = math.fsum([item.evidence.prior, *(s.share for s in item.evidence.shares)])
        assert total == pytest.approx(item.score, rel=1e-6, abs=2**-30)  # the grid of the addends


async def test_a_user_gets_what_similar_users_liked_without_what_was_seen(house: MakeHouse) -> None:
    answer = await house().recommender.recommend(RecommendRequest(user_id="u0", limit=5))
    assert answer.user_version == 1
    assert [item.rank for item in answer.items] == [1, 2, 3, 4, 5]
    assert not {"f00", "f08", "f16", "f24"} & {item.item_id for item in answer.items}


async def test_shares_of_every_kind_of_question_add_up_to_the_score(house: MakeHouse) -> None:
    ask = house().recommender.recommend
    session = (SessionItem("f03"), SessionItem("f04", -0.5))
    shares_add_up(await ask(RecommendRequest(user_id="u1", evidence=True)))
    shares_add_up(await ask(RecommendRequest(session=session, evidence=True)))
    shares_add_up(await ask(RecommendRequest(text="a robot in space", evidence=True)))
    shares_add_up(
        await ask(RecommendRequest(user_id="u1", session=session, text="ocean", evidence=True))
    )


async def test_the_number_of_shards_changes_no_answer(house: MakeHouse) -> None:
    request = RecommendRequest(user_id="u2", text="music", limit=20)
    answers = [
        await house(shards, f"with{shards}").recommender.recommend(request) for shards in (1, 2, 5)
    ]
    told = [[(item.item_id, item.score) for item in answer.items] for answer in answers]
    assert told[0] == told[1] == told[2]


async def test_an_event_shows_in_the_next_answer(house: MakeHouse) -> None:
    home = house()
    before = await home.recommender.recommend(RecommendRequest(user_id="new", evidence=True))
    learned = await home.recommender.learn([home.did("new", "f06")])
    after = await home.recommender.recommend(RecommendRequest(user_id="new", evidence=True))
    assert (before.user_version, after.user_version) == (0, 1)
    assert learned.user_versions == {"new": 1}
    assert after.items[0].evidence is not None
    assert after.items[0].evidence.shares[0].event_id == "new-f06-like-0"
    assert after.items[0].evidence.shares[0].title == "Film 6"


async def test_an_unknown_user_gets_popular_items(house: MakeHouse) -> None:
    answer = await house().recommender.recommend(RecommendRequest(user_id="who", evidence=True))
    first = answer.items[0].evidence
    assert first is not None
    assert first.shares == ()
    assert first.prior == answer.items[0].score > 0


async def test_a_dislike_pushes_away(house: MakeHouse) -> None:
    home = house()
    liked = await home.recommender.recommend(
        RecommendRequest(session=(SessionItem("f01"),), limit=40)
    )
    pushed = await home.recommender.recommend(
        RecommendRequest(session=(SessionItem("f01", -1.0),), limit=40)
    )
    neighbour = liked.items[0].item_id
    assert [item.item_id for item in pushed.items].index(neighbour) > 20


async def test_seen_items_come_back_when_asked_for(house: MakeHouse) -> None:
    answer = await house().recommender.recommend(
        RecommendRequest(user_id="u0", limit=40, exclude_seen=False)
    )
    assert {"f00", "f08"} <= {item.item_id for item in answer.items}


async def test_filters_hold_before_the_cut(house: MakeHouse) -> None:
    home = house()
    request = RecommendRequest(user_id="u0", limit=3, filter=AnyOf("genres", ("ocean",)))
    answer = await home.recommender.recommend(request)
    assert len(answer.items) == 3
    for item in answer.items:
        _, found = await home.recommender.item(item.item_id)
        assert "ocean" in str(found.fields["genres"])


async def test_a_filter_on_an_unknown_field_is_told_the_fields(house: MakeHouse) -> None:
    with pytest.raises(InvalidFilter, match="genres, plot, year"):
        await house().recommender.recommend(
            RecommendRequest(user_id="u0", filter=AnyOf("director", ("x",)))
        )


async def test_similar_items_leave_out_the_item_itself(house: MakeHouse) -> None:
    answer = await house().recommender.similar("f10", "cosine", Scope(5))
    assert "f10" not in [item.item_id for item in answer.items]
    assert answer.items[0].score >= answer.items[-1].score


async def test_a_text_finds_items_about_it(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.search("ocean ocean", "cosine", Scope(1))
    _, found = await home.recommender.item(answer.items[0].item_id)
    assert "ocean" in str(found.fields["genres"])


async def test_an_unknown_item_is_an_error_that_names_it(house: MakeHouse) -> None:
    with pytest.raises(ItemNotFound, match="'nope'"):
        await house().recommender.item("nope")


async def test_events_for_unknown_items_are_rejected_one_by_one(house: MakeHouse) -> None:
    home = house()
    learned = await home.recommender.learn([home.did("a", "f01"), home.did("a", "nope")])
    assert (learned.accepted, [r.index for r in learned.rejected]) == (1, [1])
    assert learned.rejected[0].code == "item_not_found"


async def test_forgetting_gives_a_new_users_answer(house: MakeHouse) -> None:
    home = house()
    new = await home.recommender.recommend(RecommendRequest(user_id="who"))
    await home.recommender.recommend(RecommendRequest(user_id="u0"))
    receipt = await home.recommender.forget("u0")
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0"))
    assert (receipt.events, receipt.recommendations) == (4, 1)
    assert answer.user_version == receipt.user_version == 2
    assert [item.item_id for item in answer.items] == [item.item_id for item in new.items]


async def test_a_shard_without_the_generation_is_asked_for_the_previous_one(
    house: MakeHouse,
) -> None:
    home = house()
    newer = home.manifest.model_copy(update={"generation": "g-newer"})
    home.pinned.offer(newer, [frozenset({"g-newer"})] * 2)
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0"))
    assert answer.generation == home.manifest.generation


async def test_a_generation_nobody_holds_is_an_error(house: MakeHouse) -> None:
    home = house()
    for name in ("g-newer", "g-newest"):
        newer = home.manifest.model_copy(update={"generation": name})
        home.pinned.offer(newer, [frozenset({name})] * 2)
    with pytest.raises(GenerationMissing):
        await home.recommender.recommend(RecommendRequest(user_id="u0"))


async def test_every_item_is_explained_from_its_evidence(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.recommend(
        RecommendRequest(user_id="u0", limit=3, evidence=True)
    )
    said = [s async for s in home.recommender.explain(answer, how="template", limit=3)]
    told = {s.item_id: s for s in said if isinstance(s, Explanation)}
    assert set(told) == {item.item_id for item in answer.items}
    assert all(t.source == "template" and "Film" in t.text for t in told.values())


async def test_an_answer_without_evidence_has_nothing_to_explain(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0", limit=3))
    assert [s async for s in home.recommender.explain(answer, how="template", limit=3)] == []


async def test_shown_recommendations_are_stored(house: MakeHouse) -> None:
    home = house()
    answer = await home.recommender.recommend(RecommendRequest(user_id="u0", evidence=True))
    home.shown.flush()
    assert home.events.recommendation(answer.recommendation_id) == answer
