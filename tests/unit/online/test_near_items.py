"""Items near an item, asked of shards as the service asks them: the same for any number of them."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from llmrec_ray.catalog.live import ItemDraft
from llmrec_ray.errors import ItemNotFound
from llmrec_ray.generation.buckets import shard_of
from llmrec_ray.shard import Shard
from llmrec_ray.types import ItemQuery, Metric, NearQuery, Scope
from serve.calls.handles import ShardSearcher
from serve.calls.mailbox import Mailbox, Send, Sharing
from serve.calls.questions import Question, answer_now
from tests.unit.online.conftest import House

MakeHouse = Callable[..., House]
SHARING = Sharing(deadline_s=60, shared=32, pending=100)


def sending(shard: Shard) -> Send:
    async def send(questions: Sequence[Question[object]]) -> list[object]:
        return answer_now(shard, questions)

    return send


async def changed(house: MakeHouse, shards: int) -> tuple[House, ShardSearcher]:
    """A house with a live item and a deleted one, and its shards behind mailboxes."""
    home = house(shards)
    await home.live.put([ItemDraft("new", "A robot", {"plot": "A robot at the ocean."})])
    await home.live.delete("f02")
    for shard in home.shards:
        shard.catch_up()
    return home, ShardSearcher([Mailbox(sending(shard), SHARING) for shard in home.shards])


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("shards", [1, 2, 7])
async def test_it_is_what_a_lookup_and_a_search_find(
    house: MakeHouse, shards: int, metric: Metric
) -> None:
    home, searcher = await changed(house, shards)
    generation = home.manifest.generation
    for item_id in ("f01", "new", "films/a b"):
        found = await searcher.near_item(generation, ItemQuery(item_id, metric, Scope(10)))
        looked = await searcher.lookup(generation, [item_id])
        around = Scope(10, exclude=frozenset({item_id}))
        near = NearQuery(looked.vectors[item_id], metric, around)
        assert found == await searcher.near(generation, near)
        assert len(found.candidates) == 10
        assert found.coverage.delta_seq == 2


@pytest.mark.parametrize("gone", ["f02", "no such film"])
async def test_an_item_that_is_not_there_spoils_no_question_beside_it(
    house: MakeHouse, gone: str
) -> None:
    home, searcher = await changed(house, 2)
    beside = [f"f{n:02}" for n in range(10, 20)]
    assert {shard_of(item_id, 2) for item_id in beside} == {0, 1}
    answers = await asyncio.gather(
        *(
            searcher.near_item(home.manifest.generation, ItemQuery(one, "cosine", Scope(3)))
            for one in (*beside, gone)
        ),
        return_exceptions=True,
    )
    assert isinstance(answers.pop(), ItemNotFound)
    assert [len(one.candidates) for one in answers if not isinstance(one, BaseException)] == [
        3
    ] * len(beside)
