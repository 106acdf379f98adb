"""Shares add up to the score, for ten thousand users drawn at random."""

import math
import random
from collections.abc import Callable

import pytest

from llmrec_ray.types import EventType, RecommendRequest
from tests.unit.online.conftest import House

USERS = 10_000
KINDS: tuple[EventType, ...] = ("view", "click", "like", "dislike", "purchase", "review")


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_the_shares_of_ten_thousand_users_add_up_to_their_scores(
    house: Callable[..., House],
) -> None:
    home, dice = house(2), random.Random(11)
    checked = 0
    for number in range(USERS):
        did = [
            home.did(f"x{number}", f"f{dice.randrange(39):02}", dice.choice(KINDS), at=minute)
            for minute in range(dice.randint(1, 12))
        ]
        home.events.append(did)
        text = "robots at sea" if dice.random() < 0.2 else None
        request = RecommendRequest(user_id=f"x{number}", text=text, evidence=True, limit=5)
        for item in (await home.recommender.recommend(request)).items:
            assert item.evidence is not None
            parts = [share.share for share in item.evidence.shares]
            total = math.fsum([*parts, item.evidence.prior])
            assert total == pytest.approx(item.score, rel=1e-6, abs=1e-12)
            checked += 1
    assert checked > USERS
