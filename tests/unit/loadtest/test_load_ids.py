"""Whom and what a load run asks about."""

import random
from collections import Counter
from pathlib import Path

import httpx
import pytest

from loadtest.ids import Ids, Zipf, forget, prepare


def test_the_same_seed_draws_the_same_places() -> None:
    zipf = Zipf(1000)
    draws = [[zipf.draw(randomness) for _ in range(50)] for randomness in map(random.Random, "aab")]
    assert draws[0] == draws[1] != draws[2]


def test_the_first_place_is_drawn_as_often_as_zipf_says() -> None:
    randomness, zipf = random.Random(7), Zipf(100)
    drawn = Counter(zipf.draw(randomness) for _ in range(20_000))
    assert drawn[0] / drawn[1] == pytest.approx(2, rel=0.15)
    assert drawn[0] / drawn[9] == pytest.approx(10, rel=0.3)
    assert max(drawn) <= 99


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Zipf(0)


def service(items: int) -> httpx.Client:
    """A service with that many items, that takes any event."""
    stored: Counter[str] = Counter()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/search":
            listed = [{"item_id": f"i{n}", "title": f"Title {n}"} for n in range(items)]
            return httpx.Response(200, json={"items": listed})
        if request.method == "DELETE":
            user = request.url.path.rsplit("/", 1)[1]
            return httpx.Response(200, json={"events": stored.pop(user, 0)})
        import json

        stored.update(event["user_id"] for event in json.loads(request.content)["events"])
        return httpx.Response(200, json={})

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://test")


def test_what_is_prepared_is_read_back_and_forgotten(tmp_path: Path) -> None:
    http = service(items=5)
    ids = prepare(http, seed=1)
    ids.write(tmp_path / "new" / "ids.json")
    assert Ids.read(tmp_path / "new" / "ids.json") == ids
    assert set(ids.items) == {f"i{n}" for n in range(5)}
    assert all(user.startswith("load-") for user in ids.writers)
    assert forget(http, ids) == len(ids.writers) * 30


def test_users_who_exist_are_read_and_never_written_to() -> None:
    ids = prepare(service(items=5), seed=1, readers=["1", "2"])
    assert ids.readers == ("1", "2")
    assert not {"1", "2"} & set(ids.writers)


def test_a_service_without_items_is_named() -> None:
    with pytest.raises(ValueError, match="http://test"):
        prepare(service(items=0), seed=1)


@pytest.mark.parametrize("content", ["", "[]", '{"readers": ["1"]}', '{"surprise": []}'])
def test_a_file_that_holds_no_ids_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ids.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"ids\.json"):
        Ids.read(path)
