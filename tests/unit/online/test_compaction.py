"""`llmrec compact`: the new generation answers as the old one did with its live items."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from llmrec_ray.catalog.live import ItemDraft
from llmrec_ray.cli import main
from llmrec_ray.compaction import Compacted, compact
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import Conflict, GenerationNotFound, InvalidInput, StoreUnavailable
from llmrec_ray.generation.activation import activate, current, history
from llmrec_ray.generation.published import list_generations, load_manifest, verify
from llmrec_ray.items.log import ItemWrite
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import (
    AnyOf,
    Float32s,
    Item,
    Recommended,
    RecommendRequest,
    Scope,
    SessionItem,
)
from tests.support.generations import FaultyStore
from tests.unit.online.conftest import House

MakeHouse = Callable[..., House]


def embed(texts: Sequence[str]) -> Float32s:
    return HashingEmbedder(dim=64).passages(texts)


async def changed(home: House) -> None:
    """One item new, one changed, one deleted, all applied."""
    await home.live.put(
        [
            ItemDraft("new", "Zebra", {"plot": "A zebra sails.", "genres": ["sailing"]}),
            ItemDraft("f03", "Another title", {"genres": ["war"], "year": 1999.0}),
        ]
    )
    await home.live.delete("f05")
    for shard in home.shards:
        shard.catch_up()


def folded(home: House) -> Compacted:
    made = compact(home.objects, home.events.items, "test", embed)
    assert made is not None
    return made


async def answers(home: House) -> list[tuple[Recommended, ...]]:
    ask = home.recommender
    session = (SessionItem("new"), SessionItem("f03"), SessionItem("f05"), SessionItem("f11"))
    return [
        (await ask.search("zebra", "cosine", Scope(100))).items,
        (await ask.search("war", "dot", Scope(100, AnyOf("genres", ("war", "sailing"))))).items,
        (await ask.similar("f03", "euclidean", Scope(100))).items,
        (await ask.recommend(RecommendRequest(user_id="u1", limit=100, evidence=True))).items,
        (
            await ask.recommend(
                RecommendRequest(session=session, limit=100, evidence=True, exclude_seen=False)
            )
        ).items,
    ]


async def test_a_compacted_generation_answers_bit_for_bit_as_before(house: MakeHouse) -> None:
    home = house(2)
    await changed(home)
    before = await answers(home)
    made = folded(home)
    assert (made.stored, made.deleted, made.manifest.items) == (2, 1, 40)
    assert made.manifest.item_seq == 3
    assert verify(home.objects, made.manifest.generation) == []
    for shards in (1, 2, 5):
        after = house(shards, folder=home.folder)
        assert after.manifest.generation == made.manifest.generation
        assert await answers(after) == before


async def test_shards_drop_what_is_folded_and_go_on_from_there(house: MakeHouse) -> None:
    home = house(2)
    await changed(home)
    manifest = folded(home).manifest
    for shard in home.shards:
        shard.prepare(manifest)
        old, new = shard.deltas.values()
        assert (old.position, new.position) == (3, 3)
        assert not new.changes
    home.pinned.offer(manifest, [frozenset(shard.held) for shard in home.shards])
    await home.live.put([ItemDraft("newer", "Violin", {})])
    for shard in home.shards:
        shard.catch_up()
    found = await home.recommender.search("violin", "cosine", Scope(1))
    assert ([one.item_id for one in found.items], found.generation) == (
        ["newer"],
        manifest.generation,
    )
    assert found.coverage.delta_seq == 4


async def test_a_rollback_keeps_live_items(house: MakeHouse) -> None:
    home = house(2)
    await changed(home)
    before = await answers(home)
    folded(home)
    activate(home.objects, home.manifest.generation, "test")
    assert await answers(house(2, folder=home.folder)) == before


def test_nothing_live_is_nothing_to_fold(house: MakeHouse) -> None:
    home = house(1)
    assert compact(home.objects, home.events.items, "test", embed) is None
    assert len(history(home.objects)) == 1


async def test_only_segments_with_changes_are_written(house: MakeHouse) -> None:
    home = house(1)
    await home.live.patch("f03", title="Another title", fields={})
    old = {ref.key for one in home.manifest.segments for ref in one.objects.values()}
    new = {ref.key for one in folded(home).manifest.segments for ref in one.objects.values()}
    assert 1 <= len(new - old) <= 3 < len(new)


async def test_a_crash_at_any_write_leaves_the_old_generation_and_a_second_run_finishes(
    house: MakeHouse,
) -> None:
    home = house(2)
    await changed(home)
    before = await answers(home)
    store = FaultyStore(FolderStore(home.folder / "objects"))
    # Each run gets one write further; the name of a lease is new in each.
    store.fails_after = lambda key: store.created.count(key) == 1 and not key.startswith("leases/")
    crashes, made = 0, None
    while made is None:
        assert current(store) == history(home.objects)[0]
        try:
            made = compact(store, home.events.items, "test", embed)
        except StoreUnavailable:
            crashes += 1
    assert crashes >= 2
    assert compact(home.objects, home.events.items, "test", embed) is None
    assert await answers(house(2, folder=home.folder)) == before


async def test_a_crash_before_the_activation_is_finished_by_the_second_run(
    house: MakeHouse,
) -> None:
    home = house(1)
    await changed(home)
    store = FaultyStore(FolderStore(home.folder / "objects"))
    store.fails_before = lambda key: key.startswith("activations/")
    with pytest.raises(StoreUnavailable):
        compact(store, home.events.items, "test", embed)
    assert len(list_generations(home.objects)) == 2
    assert len(history(home.objects)) == 1
    made = folded(home)
    assert len(list_generations(home.objects)) == 2
    assert [one.generation for one in history(home.objects)][1:] == [made.manifest.generation]


async def test_a_generation_that_came_meanwhile_stays_current(house: MakeHouse) -> None:
    home = house(1)
    await changed(home)
    store = FaultyStore(FolderStore(home.folder / "objects"))

    def another(key: str) -> bool:
        if key.endswith("manifest.json"):
            activate(home.objects, home.manifest.generation, "another")
        return False

    store.fails_before = another
    with pytest.raises(Conflict, match="stays current"):
        compact(store, home.events.items, "test", embed)
    assert [one.writer for one in history(home.objects)] == ["test", "another"]
    assert folded(home).activation.number == 3


async def test_an_item_of_another_encoder_is_embedded_anew(house: MakeHouse) -> None:
    home = house(1)
    other = np.eye(1, 32, dtype=np.float32).tobytes()
    home.events.items.write([ItemWrite("new", Item("new", "Zebra"), other, "another")])
    folded(home)
    after = house(1, folder=home.folder)
    found = await after.recommender.search("zebra", "cosine", Scope(1))
    assert [one.item_id for one in found.items] == ["new"]


async def test_the_last_item_cannot_be_folded_away(house: MakeHouse) -> None:
    home = house(1)
    for number in range(39):
        await home.live.delete(f"f{number:02}")
    await home.live.delete("films/a b")
    with pytest.raises(InvalidInput, match="no items"):
        compact(home.objects, home.events.items, "test", embed)


def test_without_a_generation_there_is_nothing_to_fold_into(
    house: MakeHouse, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = FolderStore(tmp_path_factory.mktemp("empty"))
    with pytest.raises(GenerationNotFound, match="Publish a catalogue first"):
        compact(empty, house(1).events.items, "test", embed)


async def test_publishing_the_files_again_keeps_live_items_and_learns_from_their_events(
    house: MakeHouse,
) -> None:
    home = house(2)
    await changed(home)
    home.events.append([home.did(f"u{user}", "new", at=user) for user in range(8)])
    model = HashingEmbedder(dim=64)
    made = ingest(
        home.folder / "films.yaml",
        Sources(home.objects, home.events, "test", home.events.items),
        embed=model.passages,
        encoder=model.info,
        learning=LearningSettings(),
        rejected=home.folder / "rejected",
    )
    assert (made.manifest.items, made.manifest.item_seq) == (40, 3)
    after = house(2, folder=home.folder)
    assert (await after.recommender.item("f03"))[1].title == "Another title"
    found = await after.recommender.recommend(
        RecommendRequest(session=(SessionItem("new"),), limit=40, evidence=True)
    )
    neighbours = found.items[0].evidence
    assert neighbours
    assert neighbours.prior >= 0
    assert "f05" not in {one.item_id for one in found.items}


async def test_the_command_folds_and_says_what(
    house: MakeHouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = house(1)
    await changed(home)
    monkeypatch.setenv("LLMREC_OBJECT_STORE__URL", f"file://{home.folder}/objects")
    monkeypatch.setenv("LLMREC_EVENT_STORE__URL", f"sqlite:///{home.folder}/events.db")
    for says, shows in (('"stored": 2', "Publish"), ("Nothing to fold", "")):
        with pytest.raises(SystemExit) as ended:
            main(["compact", "--output", "json"])
        assert ended.value.code == 0
        printed = capsys.readouterr()
        assert says in printed.out
        assert printed.err.strip().startswith(shows)
        assert bool(printed.err.strip()) == bool(shows)
    active = current(home.objects)
    assert active
    assert load_manifest(home.objects, active.generation).item_seq == 3
