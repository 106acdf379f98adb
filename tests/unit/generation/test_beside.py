"""Publishing beside the current generation: few new objects, and the answers of a full publish."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec_ray.errors import Corrupt, InvalidInput
from llmrec_ray.generation.contents import contents
from llmrec_ray.generation.draft import Draft
from llmrec_ray.generation.manifest import FORMAT, PLAIN_FORMAT, Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest, read_object, verify
from llmrec_ray.ports import ObjectStore
from llmrec_ray.search.merge import merge
from llmrec_ray.shard import Shard
from llmrec_ray.storage.columns import texts, vectors, wholes
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import NearQuery, Scope, ScoreQuery, WeightedEvent
from tests.support.generations import FaultyStore, draft
from tests.support.naive import TASTE_DIM, TEXT_DIM, Catalogue, NaiveItem, catalogue, draft_of

ALL = Scope(limit=100)
EVENTS = tuple(WeightedEvent(f"e{n}", f"f{n}", "like", 1.0 / (1 + n)) for n in range(8))
COUNT = 40

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["title", "text", "delete", "add", "train"]), st.integers(0, COUNT + 8)
    ),
    min_size=1,
    max_size=4,
)


def changed(made: Catalogue, changes: Sequence[tuple[str, int]], seed: int) -> Catalogue:
    """The catalogue after some changes; a training gives all items other vectors."""
    items, pairs = dict(made.items), dict(made.neighbours)
    for kind, number in changes:
        name = f"f{number}"
        if kind == "add" or name not in items:
            items[name] = catalogue([number], seed).items[name]
        elif kind == "title":
            items[name] = replace(items[name], title=f"Another {seed}")
        elif kind == "text":
            text = np.roll(items[name].text, 1 + seed % 3)
            items[name] = replace(items[name], text=text)
        elif kind == "delete" and len(items) > 1:
            del items[name]
        elif kind == "train":
            numbers = [int(item_id[1:]) for item_id in items]
            trained = catalogue(numbers, seed)
            pairs = dict(trained.neighbours)
            items = {item_id: _trained(items[item_id], trained, item_id) for item_id in items}
    pairs = {pair: weight for pair, weight in pairs.items() if pair[1] in items}
    mean = np.mean([item.text.astype(float) for item in items.values()], axis=0)
    return Catalogue(items, pairs, mean)


def _trained(item: NaiveItem, trained: Catalogue, item_id: str) -> NaiveItem:
    new = trained.items[item_id]
    return replace(item, context=new.context, target=new.target, popularity=new.popularity)


def answers(store: ObjectStore, manifest: Manifest, shards: int) -> list[object]:
    """Everything that the shards say of some questions, bit for bit."""
    group = [Shard(store, number, shards) for number in range(shards)]
    for shard in group:
        shard.prepare(manifest)
    name = manifest.generation
    vector = np.sum([shard.gather(name, EVENTS) for shard in group], axis=0)
    text = np.linspace(-1, 1, TEXT_DIM).astype(np.float32)
    score = ScoreQuery(EVENTS, vector, 0.3, ALL)
    scored = merge([shard.score(name, [score])[0] for shard in group], 100)
    near = merge([shard.near(name, [NearQuery(text, "cosine", ALL)])[0] for shard in group], 100)
    ids = [candidate.item_id for candidate in near]
    looked = [shard.lookup(name, ids)[0] for shard in group]
    return [
        vector.tobytes(),
        [(found.item_id, found.score) for found in scored],
        [(found.item_id, found.score) for found in near],
        [next(items[item_id] for items in looked if item_id in items) for item_id in ids],
        sum(shard.sizes[name] for shard in group),
        manifest.items,
    ]


@settings(max_examples=8, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=4), st.integers(0, 1000))
def test_any_changes_answer_bit_for_bit_as_a_full_publish(
    runs: list[list[tuple[str, int]]], seed: int
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        beside = FolderStore(Path(one), durable=False)
        anew = FolderStore(Path(other), durable=False)
        made = catalogue(range(COUNT), seed)
        last = publish(beside, draft_of(made), segments=4)
        for number, changes in enumerate(runs):
            made = changed(made, changes, seed + number)
            last = publish(beside, draft_of(made), base=last)
            full = publish(anew, draft_of(made))
            for shards in (1, 3):
                assert answers(beside, last, shards) == answers(anew, full, shards)
            assert load_manifest(beside, last.generation) == last
        assert verify(beside, last.generation) == []


def test_a_change_of_one_item_writes_one_small_segment_and_a_tombstone(faulty: FaultyStore) -> None:
    made = catalogue(range(400), 1)
    first = publish(faulty, draft_of(made))
    faulty.created.clear()
    second = publish(faulty, draft_of(changed(made, [("title", 7)], 2)), base=first)
    objects = [key for key in faulty.created if key.startswith("objects/")]
    small = second.segments[-1]
    assert (small.rows, small.first_bucket, small.end_bucket) == (1, 0, 1024)
    assert set(objects) <= {ref.key for one in second.segments for ref in one.objects.values()}
    # its five objects, the tombstones, and no learned object of the others
    assert len(objects) == 6
    assert (first.format, second.format) == (PLAIN_FORMAT, FORMAT)


def test_a_training_writes_no_text_and_forgets_what_gone_rows_had_learned(
    faulty: FaultyStore,
) -> None:
    made = catalogue(range(400), 1)
    first = publish(faulty, draft_of(made))
    second = publish(faulty, draft_of(changed(made, [("delete", 7)], 2)), base=first)
    trained = replace(draft_of(changed(made, [("delete", 7), ("train", 0)], 3)), events=5)
    faulty.created.clear()
    third = publish(faulty, trained, base=second)
    before = {one.objects["text"].key for one in second.segments}
    assert {one.objects["text"].key for one in third.segments} == before
    [holder] = [one for one in third.segments if "tombstones" in one.objects]
    [row] = wholes(read_object(faulty, holder.objects["tombstones"]), "row").tolist()
    taste = read_object(faulty, holder.objects["taste"])
    assert vectors(taste, "context")[row].tolist() == [0.0] * TASTE_DIM
    assert row not in wholes(read_object(faulty, holder.objects["neighbours"]), "row").tolist()


def test_items_that_are_gone_are_not_trained_on(store: FolderStore) -> None:
    made = catalogue(range(40), 1)
    first = publish(store, draft_of(made))
    second = publish(store, draft_of(changed(made, [("delete", 7), ("title", 3)], 2)), base=first)
    found = contents(store, second)
    assert sorted(texts(found.items, "item_id")) == sorted(set(made.items) - {"f7"})
    assert found.text.shape == (39, TEXT_DIM)


def test_many_changes_are_a_reason_to_slice_anew(store: FolderStore) -> None:
    made = catalogue(range(40), 1)
    first = publish(store, draft_of(made))
    changes = [("title", number) for number in range(20)]
    second = publish(store, draft_of(changed(made, changes, 2)), base=first)
    assert second.format == PLAIN_FORMAT
    assert second == publish(store, draft_of(changed(made, changes, 2)))


def test_another_encoder_or_other_fields_are_sliced_anew(store: FolderStore) -> None:
    first = publish(store, draft(40))
    other = replace(draft(40, 1), encoder=replace(draft(40).encoder, hash="another"))
    assert publish(store, other, base=first) == publish(store, other)


def test_what_is_damaged_is_written_again(store: FolderStore, folder: Path) -> None:
    made = draft_of(catalogue(range(40), 1))
    first = publish(store, made)
    (folder / first.segments[2].objects["text"].key).unlink()
    with pytest.raises(Corrupt):
        read_object(store, first.segments[2].objects["text"])
    second = publish(store, made, base=first)
    assert verify(store, second.generation) == []
    assert second.items == 40


@pytest.mark.parametrize("name", ["items", "tombstones"])
def test_a_channel_cannot_have_the_name_of_another_object(store: FolderStore, name: str) -> None:
    bad: Draft = draft(10)
    [first, *others] = bad.channels
    with pytest.raises(InvalidInput, match="a name of its own"):
        publish(store, replace(bad, channels=(replace(first, name=name), *others)))
