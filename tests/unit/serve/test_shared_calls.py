"""Questions to shards: shared calls, deadlines, hedges, partial answers, bounded waiting."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from llmrec_ray.errors import (
    GenerationMissing,
    ItemNotFound,
    Overloaded,
    SearchUnavailable,
    Unavailable,
)
from llmrec_ray.generation.buckets import shard_of
from llmrec_ray.types import (
    Candidate,
    Coverage,
    Item,
    ItemQuery,
    Scope,
    ScoreQuery,
    WeightedEvent,
)
from serve.calls import questions
from serve.calls.handles import ShardSearcher
from serve.calls.hedging import BURST, Hedged
from serve.calls.mailbox import LANES, Mailbox, Sharing
from serve.calls.questions import Question

SHARING = Sharing(deadline_s=5, shared=32, pending=100)
SOON = Sharing(deadline_s=0.05, shared=32, pending=100)


@dataclass
class FakeShard:
    """Answers every question with `answer`, once `gate` is open; remembers its calls."""

    answer: object = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[Sequence[Question[object]]] = field(default_factory=list)

    async def __call__(self, asked: Sequence[Question[object]]) -> list[object]:
        self.calls.append(asked)
        await self.gate.wait()
        if isinstance(self.answer, BaseException) and not isinstance(
            self.answer, GenerationMissing
        ):
            raise self.answer
        return [self.answer] * len(asked)


def opened(answer: object) -> FakeShard:
    shard = FakeShard(answer)
    shard.gate.set()
    return shard


def lookup(item_id: str = "a") -> questions.Lookup:
    return questions.Lookup("g1", (item_id,))


def query(limit: int = 3) -> ScoreQuery:
    return ScoreQuery((), np.zeros(2), 0.0, Scope(limit))


def searcher(*shards: FakeShard, sharing: Sharing = SHARING) -> ShardSearcher:
    return ShardSearcher([Mailbox(shard, sharing) for shard in shards])


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# ── sharing ──────────────────────────────────────────────────────────────────────────────────────


async def test_questions_that_arrive_during_calls_share_the_next_one() -> None:
    shard = FakeShard("found")
    mailbox = Mailbox(shard, SHARING)
    first = []
    for _ in range(LANES):
        first.append(asyncio.create_task(mailbox.ask(lookup())))
        await settle()
    rest = [asyncio.create_task(mailbox.ask(lookup(str(n)))) for n in range(5)]
    await settle()
    assert len(shard.calls) == LANES
    shard.gate.set()
    assert await asyncio.gather(*first, *rest) == ["found"] * (LANES + 5)
    assert [len(call) for call in shard.calls] == [1] * LANES + [5]


async def test_a_call_holds_no_more_questions_than_allowed() -> None:
    shard = FakeShard("found")
    mailbox = Mailbox(shard, Sharing(deadline_s=5, shared=2, pending=100))
    asked = [asyncio.create_task(mailbox.ask(lookup(str(n)))) for n in range(7)]
    await settle()
    shard.gate.set()
    await asyncio.gather(*asked)
    assert max(len(call) for call in shard.calls) == 2


async def test_a_caller_that_leaves_does_not_take_the_others_with_it() -> None:
    shard = FakeShard("found")
    mailbox = Mailbox(shard, SHARING)
    leaving = asyncio.create_task(mailbox.ask(lookup("a")))
    staying = asyncio.create_task(mailbox.ask(lookup("b")))
    await settle()
    leaving.cancel()
    await settle()
    shard.gate.set()
    assert await staying == "found"


async def test_too_many_waiting_questions_are_refused_at_once() -> None:
    shard = FakeShard("found")
    mailbox = Mailbox(shard, Sharing(deadline_s=5, shared=1, pending=2))
    asked = []
    for _ in range(LANES + 2):
        asked.append(asyncio.create_task(mailbox.ask(lookup())))
        await settle()
    with pytest.raises(Overloaded):
        await mailbox.ask(lookup())
    shard.gate.set()
    await asyncio.gather(*asked)


async def test_a_shard_that_says_nothing_is_given_up_at_the_deadline() -> None:
    with pytest.raises(Unavailable):
        await Mailbox(FakeShard(), SOON).ask(lookup())


async def test_a_mailbox_works_on_after_a_failed_call() -> None:
    shard = opened(ConnectionError("gone"))
    mailbox = Mailbox(shard, SHARING)
    with pytest.raises(Unavailable):
        await mailbox.ask(lookup())
    shard.answer = "found"
    assert await mailbox.ask(lookup()) == "found"


# ── partial answers ──────────────────────────────────────────────────────────────────────────────


async def test_a_lost_shard_lowers_the_coverage() -> None:
    found = await searcher(
        opened([Candidate("a", "A", 2.0)]), opened(ConnectionError("gone"))
    ).score("g1", query())
    assert [candidate.item_id for candidate in found.candidates] == ["a"]
    assert found.coverage == Coverage(1, 2)


async def test_a_slow_shard_lowers_the_coverage() -> None:
    found = await searcher(opened([Candidate("a", "A", 2.0)]), FakeShard(), sharing=SOON).score(
        "g1", query()
    )
    assert found.coverage == Coverage(1, 2)


async def test_lists_of_all_shards_are_merged_by_score() -> None:
    found = await searcher(
        opened([Candidate("a", "A", 3.0), Candidate("c", "C", 1.0)]),
        opened([Candidate("b", "B", 2.0), Candidate("d", "D", 1.0)]),
    ).score("g1", query(limit=3))
    assert [candidate.item_id for candidate in found.candidates] == ["a", "b", "c"]
    assert found.coverage.complete


async def test_no_shard_at_all_is_an_error() -> None:
    lost = opened(ConnectionError("gone"))
    with pytest.raises(SearchUnavailable):
        await searcher(lost, lost).score("g1", query())


async def test_shards_that_are_all_full_are_an_overload() -> None:
    full = Sharing(deadline_s=5, shared=1, pending=0)
    with pytest.raises(Overloaded):
        await searcher(opened([]), opened([]), sharing=full).score("g1", query())


async def test_a_missing_generation_reaches_the_caller() -> None:
    with pytest.raises(GenerationMissing):
        await searcher(opened([]), opened(GenerationMissing("not here"))).score("g1", query())


async def test_only_the_owner_of_an_id_is_asked() -> None:
    shards = [opened(({}, {})), opened(({}, {}))]
    await searcher(*shards).lookup("g1", ["film-1"])
    owner = shard_of("film-1", 2)
    assert len(shards[owner].calls) == 1
    assert not shards[1 - owner].calls


async def test_a_lookup_whose_owner_is_lost_is_partial() -> None:
    ids = [f"film-{n}" for n in range(20)]
    kept = [item_id for item_id in ids if shard_of(item_id, 2) == 0]
    found = {item_id: Item(item_id, item_id) for item_id in kept}
    looked = await searcher(opened((found, {})), opened(ConnectionError("gone"))).lookup("g1", ids)
    assert set(looked.items) == set(kept)
    assert looked.coverage == Coverage(1, 2)


async def test_a_gather_whose_owner_is_lost_knows_its_dimension() -> None:
    event = WeightedEvent("e1", "film-1", "like", 1.0)
    shards = [opened(np.zeros(4)), opened(np.zeros(4))]
    shards[shard_of("film-1", 2)].answer = ConnectionError("gone")
    gathered = await searcher(*shards).gather("g1", [event])
    assert gathered.vector.shape == (4,)
    assert gathered.coverage == Coverage(1, 2)


# ── near an item ─────────────────────────────────────────────────────────────────────────────────

ASKED = ItemQuery("film-1", "cosine", Scope(3, exclude=frozenset({"seen"})))
OWNER = shard_of(ASKED.item_id, 2)
VECTOR = np.array([0.6, 0.8], np.float32)


async def test_one_shard_is_asked_once_what_is_near_an_item() -> None:
    shard = opened((VECTOR, [Candidate("a", "A", 2.0)]))
    found = await searcher(shard).near_item("g1", ASKED)
    assert shard.calls == [[questions.NearItem("g1", ASKED)]]
    assert [candidate.item_id for candidate in found.candidates] == ["a"]
    assert found.coverage == Coverage(1, 1)


async def test_the_other_shards_are_asked_what_is_near_the_owners_vector() -> None:
    shards = [opened([Candidate("b", "B", 3.0)]), opened([Candidate("b", "B", 3.0)])]
    shards[OWNER].answer = questions.Told((VECTOR, [Candidate("a", "A", 2.0)]), 7)
    shards[1 - OWNER].answer = questions.Told([Candidate("b", "B", 3.0)], 5)
    found = await searcher(*shards).near_item("g1", ASKED)
    [[asked]] = shards[1 - OWNER].calls
    assert isinstance(asked, questions.Near)
    assert asked.query.vector is VECTOR
    assert asked.query.scope == Scope(3, exclude=frozenset({"seen", "film-1"}))
    assert [candidate.item_id for candidate in found.candidates] == ["b", "a"]
    assert (found.coverage.complete, found.coverage.delta_seq) == (True, 5)


async def test_another_lost_shard_lowers_the_coverage_of_what_is_near_an_item() -> None:
    shards = [opened(ConnectionError("gone")), opened(ConnectionError("gone"))]
    shards[OWNER].answer = (VECTOR, [Candidate("a", "A", 2.0)])
    found = await searcher(*shards).near_item("g1", ASKED)
    assert [candidate.item_id for candidate in found.candidates] == ["a"]
    assert found.coverage == Coverage(1, 2)


async def test_an_item_whose_owner_is_lost_may_be_there() -> None:
    shards = [opened([]), opened([])]
    shards[OWNER].answer = ConnectionError("gone")
    with pytest.raises(SearchUnavailable, match="film-1"):
        await searcher(*shards).near_item("g1", ASKED)


async def test_an_item_that_its_owner_does_not_have_is_not_there() -> None:
    shards = [opened(None), opened(None)]
    with pytest.raises(ItemNotFound, match="film-1"):
        await searcher(*shards).near_item("g1", ASKED)
    assert not shards[1 - OWNER].calls


async def test_shares_keep_the_order_of_the_events() -> None:
    class Owner:
        """Gives each event the number in its item's name."""

        async def __call__(self, asked: Sequence[Question[object]]) -> list[object]:
            return [
                np.array([[float(event.item_id)] for event in question.events])
                for question in asked
                if isinstance(question, questions.Shares)
            ]

    events = [WeightedEvent(f"e{n}", str(n), "like", 1.0) for n in range(10)]
    split = ShardSearcher([Mailbox(Owner(), SHARING), Mailbox(Owner(), SHARING)])
    shares = await split.shares("g1", events, np.zeros((1, 2), np.float32))
    assert shares.by_vectors[:, 0].tolist() == [float(n) for n in range(10)]


# ── hedging ──────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Replicas:
    """Each call gets the next of `answers`; None never answers, an exception is raised."""

    answers: list[object]
    calls: int = 0
    cancelled: int = 0
    both: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, _: object) -> object:
        answer = self.answers[self.calls]
        self.calls += 1
        if self.calls == 2:
            self.both.set()
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return answer


def hedged(replicas: Replicas, count: int, after_s: float = 0.01) -> Hedged[object, object]:
    return Hedged(replicas, after_s=after_s, replicas=lambda: count)


async def test_a_slow_replica_is_hedged_and_its_call_cancelled() -> None:
    replicas = Replicas([None, "fast"])
    assert await hedged(replicas, 2)("q") == "fast"
    await settle()
    assert replicas.cancelled == 1


async def test_a_failed_replica_is_replaced_by_another() -> None:
    assert await hedged(Replicas([ConnectionError("gone"), "fine"]), 2)("q") == "fine"


async def test_a_single_replica_is_not_hedged() -> None:
    replicas = Replicas([ConnectionError("gone"), "fine"])
    with pytest.raises(ConnectionError):
        await hedged(replicas, 1)("q")
    assert replicas.calls == 1


async def test_a_fast_replica_is_asked_once() -> None:
    replicas = Replicas(["fine", "never"])
    assert await hedged(replicas, 2, after_s=5)("q") == "fine"
    assert replicas.calls == 1


async def test_hedges_do_not_double_the_load_of_a_group_in_trouble() -> None:
    calls = 200
    replicas = Replicas([ConnectionError("gone")] * (2 * calls))
    call = hedged(replicas, 2)
    for _ in range(calls):
        with pytest.raises(ConnectionError):
            await call("q")
    assert replicas.calls <= calls + BURST + calls * 0.06


async def test_a_caller_that_leaves_cancels_both_calls() -> None:
    replicas = Replicas([None, None])
    asking = asyncio.create_task(hedged(replicas, 2)("q"))
    await asyncio.wait_for(replicas.both.wait(), 5)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await settle()
    assert replicas.cancelled == 2
