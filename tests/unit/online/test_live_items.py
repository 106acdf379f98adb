"""Live items: every answer is that of a catalogue which a plain dictionary describes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec_ray.catalog.live import Given, ItemDraft
from llmrec_ray.errors import (
    Conflict,
    EmbedderUnavailable,
    EncoderMismatch,
    InvalidInput,
    ItemNotFound,
    VersionConflict,
)
from llmrec_ray.items.log import ItemWrite, Written
from llmrec_ray.local_shards import LocalShards
from llmrec_ray.online.live import LiveItems
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.types import (
    AnyOf,
    Float32s,
    Item,
    Range,
    Recommendations,
    RecommendRequest,
    Scope,
    SessionItem,
)
from tests.unit.online.conftest import Encoder, House

MakeHouse = Callable[..., House]
ALL = Scope(200)


def caught_up(home: House) -> None:
    for shard in home.shards:
        shard.catch_up()


async def put(home: House, item_id: str, title: str, **fields: Given) -> Written:
    (written,) = await home.live.put([ItemDraft(item_id, title, fields)])
    caught_up(home)
    return written


async def delete(home: House, item_id: str) -> Written:
    written = await home.live.delete(item_id)
    caught_up(home)
    return written


def ids(found: Recommendations) -> list[str]:
    return [item.item_id for item in found.items]


async def test_a_new_item_is_found_by_everything(house: MakeHouse) -> None:
    home = house(3)
    new = {"plot": "A zebra sails.", "genres": ["sailing"], "year": 2026.0}
    await put(home, "new", "Zebra", **new)
    ask = home.recommender
    assert ids(await ask.search("zebra sails", "cosine", Scope(1))) == ["new"]
    assert ids(await ask.search("zebra", "cosine", Scope(9, AnyOf("genres", ("sailing",))))) == [
        "new"
    ]
    assert ids(await ask.search("zebra", "dot", Scope(9, Range("year", gte=2025)))) == ["new"]
    assert "new" in ids(await ask.similar("f01", "cosine", ALL))
    assert len(ids(await ask.similar("new", "cosine", ALL))) == 40
    spoken = RecommendRequest(text="a zebra that sails", limit=1)
    assert ids(await ask.recommend(spoken)) == ["new"]
    assert (await ask.item("new"))[1] == Item(
        "new", "Zebra", {"plot": "A zebra sails.", "genres": ("sailing",), "year": 2026.0}
    )


async def test_a_changed_item_keeps_what_was_learned_of_it(house: MakeHouse) -> None:
    home = house(2)
    ask = RecommendRequest(user_id="u1", limit=50, evidence=True)
    before = {one.item_id: one for one in (await home.recommender.recommend(ask)).items}
    changed = next(one for one in before.values() if one.score > 0.05)
    _, item = await home.recommender.item(changed.item_id)
    await put(home, item.item_id, "Another title", **dict(item.fields))
    after = {one.item_id: one for one in (await home.recommender.recommend(ask)).items}
    now = after[item.item_id]
    assert now.title == "Another title"
    assert before.keys() == after.keys()
    assert now.evidence
    assert changed.evidence
    assert now.evidence.prior == changed.evidence.prior
    assert now.score == pytest.approx(changed.score, abs=0.2)  # its text is worth a little
    shares = {share.event_id: share.share for share in changed.evidence.shares}
    assert {share.event_id for share in now.evidence.shares} <= shares.keys()


async def test_a_deleted_item_vanishes_everywhere(house: MakeHouse) -> None:
    home = house(2)
    await delete(home, "f03")
    ask = home.recommender
    assert "f03" not in ids(await ask.search("space and music", "cosine", ALL))
    assert "f03" not in ids(await ask.recommend(RecommendRequest(text="music", limit=100)))
    for look in (ask.item("f03"), ask.similar("f03", "cosine", ALL), home.live.look("f03")):
        with pytest.raises(ItemNotFound):
            await look
    learned = await ask.learn([home.did("new", "f03")])
    assert [one.code for one in learned.rejected] == ["item_not_found"]
    assert await home.live.delete("f03") == Written("f03", 1, 1, "unchanged")


async def test_an_event_may_follow_its_item_at_once(house: MakeHouse) -> None:
    home = house(2)
    await home.live.put([ItemDraft("new", "Zebra", {})])
    assert (await home.recommender.learn([home.did("ada", "new")])).accepted == 1


async def test_a_user_who_likes_a_live_item_gets_what_resembles_it(house: MakeHouse) -> None:
    home = house(2)
    await put(home, "new", "Zebra", plot="A zebra sails.")
    await put(home, "twin", "Zebra", plot="A zebra sails again.")
    home.events.append([home.did("ada", "new")])
    ask = RecommendRequest(user_id="ada", limit=50, evidence=True)
    found = {one.item_id: one for one in (await home.recommender.recommend(ask)).items}
    evidence = found["twin"].evidence
    assert evidence
    assert [share.event_id for share in evidence.shares] == ["ada-new-like-0"]
    total = sum(share.share for share in evidence.shares) + evidence.prior
    assert found["twin"].score == pytest.approx(total, rel=1e-6)


async def test_what_is_remembered_of_a_user_follows_the_items(house: MakeHouse) -> None:
    home = house(2)
    await put(home, "new", "Zebra", plot="A zebra sails.")
    home.events.append([home.did("ada", "new")])
    ask = RecommendRequest(user_id="ada", limit=50)
    await home.recommender.recommend(ask)
    await put(home, "new", "Ocean", plot="Of ocean and robot.")
    remembered = await home.recommender.recommend(ask)
    fresh = house(2, folder=home.folder)
    assert (await fresh.recommender.recommend(ask)).items == remembered.items
    assert remembered.coverage.delta_seq == 2


async def test_answers_name_the_place_that_every_shard_had_applied(house: MakeHouse) -> None:
    home = house(2)
    assert (await home.recommender.search("war", "cosine", ALL)).coverage.delta_seq == 0
    await home.live.put([ItemDraft(f"n{number}", "New", {}) for number in range(9)])
    home.shards[0].catch_up()
    assert (await home.recommender.search("war", "cosine", ALL)).coverage.delta_seq == 0
    home.shards[1].catch_up()
    found = await home.recommender.search("war", "cosine", ALL)
    assert found.coverage.delta_seq == 9
    assert len(found.items) == 49


async def test_a_replay_says_that_live_items_moved_on(house: MakeHouse) -> None:
    home = house(2)
    shown = await home.recommender.recommend(RecommendRequest(text="space war", limit=5))
    home.shown.flush()
    same = await home.recommender.replay(shown.recommendation_id)
    assert (same.identical, same.reason) == (True, None)
    await delete(home, shown.items[0].item_id)
    moved = await home.recommender.replay(shown.recommendation_id)
    assert not moved.identical
    assert moved.reason
    assert "up to delta_seq 0" in moved.reason
    assert "up to 1" in moved.reason


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_patch_keeps_what_it_does_not_name(house: MakeHouse) -> None:
    home = house(2)
    _, before = await home.recommender.item("f05")
    written = await home.live.patch("f05", title=None, fields={"year": 2001.0, "plot": None})
    caught_up(home)
    _, after = await home.recommender.item("f05")
    assert written.version == 1
    kept = {name: value for name, value in before.fields.items() if name != "plot"}
    assert after == Item("f05", before.title, kept | {"year": 2001.0})
    assert (await home.live.patch("f05", title=None, fields={})).outcome == "unchanged"
    with pytest.raises(ItemNotFound):
        await home.live.patch("nowhere", title="Up", fields={})


async def test_a_patch_leaves_out_a_field_that_the_catalogue_no_longer_has(
    house: MakeHouse,
) -> None:
    home = house(1)
    await put(home, "new", "Zebra", year=1.0, plot="Of love.")
    fields = {name: spec for name, spec in home.manifest.fields.items() if name != "year"}
    newer = home.manifest.model_copy(update={"fields": fields, "generation": "g-newer"})
    home.pinned.offer(newer, [frozenset({"g-newer"})])
    await home.live.patch("new", title="Second", fields={"year": None})
    change = await home.live.look("new")
    assert change
    assert change.item == Item("new", "Second", {"plot": "Of love."})


async def test_patches_of_many_writers_are_all_kept_or_refused(house: MakeHouse) -> None:
    home = house(1)
    await put(home, "new", "Zebra", year=1.0)
    with pytest.raises(VersionConflict):
        await home.live.patch("new", title="Late", fields={}, expected=0)
    await home.live.patch("new", title="Second", fields={}, expected=1)
    await home.live.patch("new", title=None, fields={"plot": "Of love."})
    change = await home.live.look("new")
    assert change
    assert change.item
    assert change.item == Item("new", "Second", {"year": 1.0, "plot": "Of love."})


async def test_deleting_what_never_was_is_not_found(house: MakeHouse) -> None:
    with pytest.raises(ItemNotFound):
        await house(2).live.delete("nowhere")


async def test_an_id_twice_in_a_batch_is_refused_before_it_is_embedded(house: MakeHouse) -> None:
    home = house(1)
    twice = [ItemDraft("a", "A", {}), ItemDraft("a", "B", {})]
    live = LiveItems(home.events.items, home.pinned, LocalShards(home.shards), Away())
    with pytest.raises(InvalidInput, match="more than once") as caught:
        await live.put(twice)
    assert caught.value.details == {"field": "item_id", "index": 1}


@dataclass
class Away(Encoder):
    """A pool that does not answer, or answers with what it is told to."""

    answer: Float32s | None = None
    info: EncoderInfo | None = None
    asked: list[str] = field(default_factory=list[str])

    async def passages(self, texts: Sequence[str]) -> tuple[Float32s, EncoderInfo]:
        self.asked += texts
        if self.answer is None or self.info is None:
            raise EmbedderUnavailable("no replica")
        return self.answer, self.info


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros((1, 64), np.float32),
        np.full((1, 64), np.nan, np.float32),
        np.eye(1, 32, dtype=np.float32),
        np.eye(1, 64, dtype=np.float32) * 2,
    ],
    ids=["zero", "nan", "dimension", "length"],
)
async def test_a_vector_that_would_poison_searches_is_not_stored(
    house: MakeHouse, vector: Float32s
) -> None:
    home = house(1)
    made_with = home.manifest.encoder
    info = EncoderInfo(made_with.name, made_with.hash, made_with.dim)
    pool = Away(vector, info)
    live = LiveItems(home.events.items, home.pinned, LocalShards(home.shards), pool)
    with pytest.raises(EmbedderUnavailable, match="nothing was stored"):
        await live.put([ItemDraft("a", "A", {})])
    pool.info = replace(info, hash="another")
    with pytest.raises(EncoderMismatch):
        await live.put([ItemDraft("a", "A", {})])
    assert home.events.items.since(0) == []


async def test_what_is_stored_already_needs_no_embedder(house: MakeHouse) -> None:
    home = house(1)
    await put(home, "new", "Zebra", year=1.0)
    live = LiveItems(home.events.items, home.pinned, LocalShards(home.shards), Away())
    with pytest.raises(EmbedderUnavailable):
        await live.put([ItemDraft("new", "Another", {})])
    (again,) = await live.put([ItemDraft("new", "Zebra", {"year": 1.0})])
    assert again.outcome == "unchanged"


async def test_a_generation_that_does_not_say_how_its_texts_are_made_takes_no_items(
    house: MakeHouse,
) -> None:
    home = house(1)
    old = home.manifest.model_copy(update={"passage": None, "generation": "g-old"})
    home.pinned.offer(old, [frozenset({"g-old"})])
    with pytest.raises(Conflict, match="Publish the catalogue again"):
        await home.live.put([ItemDraft("a", "A", {})])


async def test_an_item_of_another_encoder_is_hidden_and_told_of(house: MakeHouse) -> None:
    home = house(1)
    other = np.eye(1, 32, dtype=np.float32).tobytes()
    home.events.items.write([ItemWrite("f03", Item("f03", "Film"), other, "another")])
    caught_up(home)
    assert home.shards[0].deltas[home.manifest.generation].strange == frozenset({"f03"})
    assert "f03" not in ids(await home.recommender.search("war", "cosine", ALL))


# ── against a naive model ────────────────────────────────────────────────────────────────────────

WORD = st.sampled_from(("space", "love", "zebra", "violin", "ocean"))
ID = st.sampled_from(["f00", "f01", "f13", "f25", *(f"n{number}" for number in range(6))])
CHANGE = st.one_of(
    st.tuples(st.just("put"), ID, WORD, WORD),
    st.tuples(st.just("delete"), ID, WORD, WORD),
    st.tuples(st.just("catch up"), ID, WORD, WORD),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(CHANGE, max_size=25), shards=st.sampled_from((1, 2, 5)))
async def test_any_changes_give_the_catalogue_that_a_dictionary_holds(
    house: MakeHouse,
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[str, str, str, str]],
    shards: int,
) -> None:
    home = house(shards, name=tmp_path_factory.mktemp("model").name)
    every = [f"f{number:02}" for number in range(39)] + ["films/a b"]
    model = {item_id: (await home.recommender.item(item_id))[1] for item_id in every}
    for kind, item_id, first, second in changes:
        if kind == "catch up":
            caught_up(home)
        elif kind == "put":
            item = Item(item_id, first, {"plot": f"{second}.", "genres": (first,)})
            await home.live.put(
                [ItemDraft(item_id, item.title, {"plot": f"{second}.", "genres": [first]})]
            )
            model[item_id] = item
        else:
            deleted = model.pop(item_id, None)
            try:
                await home.live.delete(item_id)
            except ItemNotFound:
                assert deleted is None
    caught_up(home)
    restarted = house(3, folder=home.folder)
    for standing in (home, restarted):
        await _is(standing, model)


def tags(item: Item) -> tuple[str, ...]:
    genres = item.fields["genres"]
    assert isinstance(genres, tuple)
    return genres


async def _is(home: House, model: dict[str, Item]) -> None:
    """Texts, vectors, filters and lookups are those of the model; scores are recomputed."""
    encoder = Encoder().model
    query = encoder.queries(["zebra ocean"])[0].astype(np.float64)
    found = await home.recommender.search("zebra ocean", "dot", Scope(100))
    assert set(ids(found)) == set(model)
    for one in found.items:
        item = model[one.item_id]
        assert (await home.recommender.item(one.item_id))[1] == item
        genres, plot = ", ".join(tags(item)), str(item.fields["plot"])
        (vector,) = encoder.passages([f"{item.title}. {plot} {genres}."])
        assert one.score == pytest.approx(float(vector.astype(np.float64) @ query), abs=1e-6)
    zebras = await home.recommender.search("x", "dot", Scope(100, AnyOf("genres", ("zebra",))))
    assert set(ids(zebras)) == {item_id for item_id, item in model.items() if "zebra" in tags(item)}
    visited = (SessionItem("n1"), SessionItem("f00"))
    asked = RecommendRequest(session=visited, limit=100, exclude_seen=False, evidence=True)
    for one in (await home.recommender.recommend(asked)).items:
        assert one.evidence
        total = sum(share.share for share in one.evidence.shares) + one.evidence.prior
        assert one.score == pytest.approx(total, rel=1e-6, abs=1e-12)
        assert "unattributed" not in {share.type for share in one.evidence.shares}
