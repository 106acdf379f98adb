"""Events that no clean client sends: a sensible answer or a clear error, never a score of NaN."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from llmrec_ray.errors import EventConflict, InvalidInput
from llmrec_ray.online.shares import part
from llmrec_ray.schemas import EVENTS_SCHEMA
from llmrec_ray.types import Recommendations, RecommendRequest
from tests.unit.online.conftest import START, House

MakeHouse = Callable[..., House]

MANY = 100_000


def sound(answer: Recommendations) -> None:
    assert answer.items
    assert all(math.isfinite(item.score) for item in answer.items)


async def test_an_event_of_the_future_is_rejected_and_the_others_are_stored(
    house: MakeHouse,
) -> None:
    home = house()
    late = replace(home.did("ada", "f01"), time=datetime.now(UTC) + timedelta(days=1))
    learned = await home.recommender.learn([late, home.did("ada", "f02")])
    assert learned.accepted == 1
    assert [(one.index, one.code, one.field) for one in learned.rejected] == [
        (0, "invalid_input", "time")
    ]
    assert "in the future" in learned.rejected[0].detail


async def test_a_clock_that_is_a_minute_ahead_is_forgiven(house: MakeHouse) -> None:
    home = house()
    soon = replace(home.did("ada", "f01"), time=datetime.now(UTC) + timedelta(minutes=1))
    assert (await home.recommender.learn([soon])).accepted == 1


async def test_what_is_done_after_a_clock_went_back_a_year_counts_and_loses_nothing(
    house: MakeHouse,
) -> None:
    home = house()
    before = await home.recommender.learn([home.did("ada", "f01"), home.did("ada", "f02")])
    late = replace(home.did("ada", "f03"), time=START - timedelta(days=365))
    after = await home.recommender.learn([late])
    assert after.user_versions["ada"] == before.user_versions["ada"] + 1
    answer = await home.recommender.recommend(RecommendRequest(user_id="ada", evidence=True))
    sound(answer)
    assert not {item.item_id for item in answer.items} & {"f01", "f02", "f03"}
    shares = [part(item.evidence).shares for item in answer.items]
    assert {share.item_id for one in shares for share in one} == {"f01", "f02", "f03"}
    assert (await home.recommender.forget("ada")).events == 3


async def test_a_user_with_100000_events_is_answered_and_forgotten(house: MakeHouse) -> None:
    home = house()
    columns = {
        "event_id": [f"e{n}" for n in range(MANY)],
        "user_id": ["busy"] * MANY,
        "item_id": [f"f{n % 20:02}" for n in range(MANY)],
        "type": ["like"] * MANY,
        "value": [None] * MANY,
        "text": [None] * MANY,
        "time": [START + timedelta(seconds=n) for n in range(MANY)],
    }
    home.events.import_events(pa.table(columns, schema=EVENTS_SCHEMA), lambda _: None)
    answer = await home.recommender.recommend(RecommendRequest(user_id="busy", evidence=True))
    sound(answer)
    assert not {item.item_id for item in answer.items} & {f"f{n:02}" for n in range(20)}
    receipt = await home.recommender.forget("busy")
    assert receipt.events == MANY
    assert home.events.history("busy", 500).events == ()


async def test_duplicate_events_count_once(house: MakeHouse) -> None:
    home, once = house(name="twice"), house(name="once")
    event = home.did("ada", "f01")
    learned = await home.recommender.learn([event, event])
    assert (learned.accepted, learned.duplicates) == (1, 1)
    assert (await home.recommender.learn([event])).duplicates == 1
    await once.recommender.learn([event])
    request = RecommendRequest(user_id="ada")
    twice = await home.recommender.recommend(request)
    assert twice.items == (await once.recommender.recommend(request)).items


async def test_the_same_id_with_another_body_is_refused(house: MakeHouse) -> None:
    home = house()
    await home.recommender.learn([home.did("ada", "f01")])
    with pytest.raises(EventConflict):
        await home.recommender.learn([replace(home.did("ada", "f01"), item_id="f02")])


async def test_events_for_unknown_items_alone_leave_a_new_users_answer(house: MakeHouse) -> None:
    home = house()
    learned = await home.recommender.learn([home.did("ada", "nope"), home.did("ada", "none")])
    assert (learned.accepted, len(learned.rejected)) == (0, 2)
    answer = await home.recommender.recommend(RecommendRequest(user_id="ada"))
    assert answer.user_version == 0
    sound(answer)


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, 0.0])
async def test_a_rating_far_off_the_scale_counts_as_its_end(house: MakeHouse, value: float) -> None:
    home = house()
    await home.recommender.learn([replace(home.did("ada", "f01", "rating"), value=value)])
    sound(await home.recommender.recommend(RecommendRequest(user_id="ada", evidence=True)))


async def test_a_rating_that_is_no_number_is_refused(house: MakeHouse) -> None:
    home = house()
    with pytest.raises(InvalidInput, match="finite"):
        await home.recommender.learn(
            [replace(home.did("ada", "f01", "rating"), value=float("nan"))]
        )
