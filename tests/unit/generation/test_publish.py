"""Publishing: what is stored, when it becomes visible, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from llmrec_ray.errors import Corrupt, GenerationNotFound, InvalidInput, StoreUnavailable
from llmrec_ray.generation.buckets import bucket_of
from llmrec_ray.generation.draft import ChannelTable, Draft
from llmrec_ray.generation.manifest import FORMAT, PLAIN_FORMAT, Manifest
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import (
    list_generations,
    load_manifest,
    manifest_key,
    read_object,
    verify,
)
from llmrec_ray.schemas import STORED_NEIGHBOURS_SCHEMA
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.columns import vectors as vectors_of
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import EventWeights, Mix
from tests.support.generations import (
    FaultyStore,
    draft,
    items,
    neighbours,
    popularity,
    unit_vectors,
    vectors,
)


def with_channel(made: Draft, name: str, table: pa.Table) -> Draft:
    channels = tuple(replace(c, table=table) if c.name == name else c for c in made.channels)
    return replace(made, channels=channels)


def shuffled(made: Draft, seed: int = 1) -> Draft:
    """The same draft with its rows, and those of its row-aligned channels, in another order."""
    order = np.random.default_rng(seed).permutation(made.items.num_rows)
    channels = tuple(
        replace(c, table=c.table if c.kind == "neighbours" else c.table.take(order))
        for c in made.channels
    )
    return replace(made, items=made.items.take(order), channels=channels)


# ── what is stored ───────────────────────────────────────────────────────────────────────────────


def test_every_segment_has_its_rows_by_bucket_and_id(store: FolderStore) -> None:
    manifest = publish(store, draft())
    rows: list[str] = []
    for segment in manifest.segments:
        ids = texts(read_object(store, segment.objects["items"]), "item_id")
        assert ids == sorted(ids, key=lambda item_id: (bucket_of(item_id), item_id))
        assert len(ids) == segment.rows
        assert all(segment.first_bucket <= bucket_of(i) < segment.end_bucket for i in ids)
        rows += ids
    assert sorted(rows) == sorted(f"f{n}" for n in range(40))


def test_segments_cover_every_bucket_once(store: FolderStore) -> None:
    segments = publish(store, draft()).segments
    assert len(segments) == 8
    ends = [0, *(segment.end_bucket for segment in segments)]
    assert ends[-1] == 1024
    assert [segment.first_bucket for segment in segments] == ends[:-1]


def test_channels_stay_aligned_with_their_items(store: FolderStore) -> None:
    made = draft()
    expected = dict(zip(texts(made.items, "item_id"), unit_vectors(40), strict=True))
    for segment in publish(store, made).segments:
        ids = texts(read_object(store, segment.objects["items"]), "item_id")
        found = vectors_of(read_object(store, segment.objects["text"]))
        popular = read_object(store, segment.objects["popularity"]).column("popularity")
        for row, item_id in enumerate(ids):
            np.testing.assert_allclose(found[row], expected[item_id], atol=1e-6)
            assert popular[row].as_py() == pytest.approx(int(item_id[1:]) / 40)


def test_neighbours_are_kept_with_their_target_as_a_row_of_the_segment(store: FolderStore) -> None:
    pairs: dict[tuple[str, str], float] = {}
    for segment in publish(store, draft()).segments:
        ids = texts(read_object(store, segment.objects["items"]), "item_id")
        table = read_object(store, segment.objects["neighbours"])
        assert table.schema.equals(STORED_NEIGHBOURS_SCHEMA)
        rows = table.to_pylist()
        assert rows == sorted(rows, key=lambda row: (row["source"], row["row"]))
        pairs |= {(row["source"], ids[row["row"]]): row["weight"] for row in rows}
    expected = {
        (f"f{n}", f"f{(n + k) % 40}"): pytest.approx(1 / k) for n in range(40) for k in (1, 2, 3)
    }
    assert pairs == expected


def test_a_neighbour_that_is_no_item_is_left_out(store: FolderStore) -> None:
    made = with_channel(
        draft(), "neighbours", neighbours({("f1", "gone"): 1.0, ("gone", "f2"): 0.5})
    )
    stored = [
        read_object(store, segment.objects["neighbours"]).to_pylist()
        for segment in publish(store, made).segments
    ]
    assert [(row["source"], row["weight"]) for rows in stored for row in rows] == [("gone", 0.5)]


def test_a_generation_may_have_no_neighbours(store: FolderStore) -> None:
    manifest = publish(store, with_channel(draft(), "neighbours", neighbours({})))
    assert verify(store, manifest.generation) == []


def test_the_number_of_segments_can_be_chosen(store: FolderStore) -> None:
    assert len(publish(store, draft(), segments=1).segments) == 1
    assert len(publish(store, draft(), segments=1024).segments) == 1024


def test_a_large_catalogue_is_cut_finer(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmrec_ray.generation.placement.ROWS_OF_A_SEGMENT", 10)
    segments = publish(store, draft(200)).segments
    assert len(segments) in {32, 64, 128}
    assert max(segment.rows for segment in segments) <= 10


def test_the_manifest_says_what_the_generation_was_made_of(store: FolderStore) -> None:
    made = draft()
    manifest = publish(store, made)
    assert (manifest.items, manifest.events, manifest.format) == (40, 120, PLAIN_FORMAT)
    assert manifest.weights == made.weights
    assert manifest.mix == made.mix
    assert manifest.fields == made.fields
    assert manifest.trained_until == made.trained_until
    assert manifest.encoder.model_dump() == {
        "name": "hashing",
        "hash": "0123456789abcdef",
        "dim": 4,
    }
    assert [(channel.name, channel.kind) for channel in manifest.channels] == [
        ("text", "text"),
        ("neighbours", "neighbours"),
        ("popularity", "popularity"),
    ]


def test_progress_counts_every_object(store: FolderStore) -> None:
    seen: list[tuple[int, int]] = []
    publish(store, draft(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 32) for done in range(1, 33)]


# ── one content, one generation ──────────────────────────────────────────────────────────────────


def test_the_same_content_is_the_same_generation_and_its_first_manifest(store: FolderStore) -> None:
    first = publish(store, draft())
    again = publish(store, draft())
    assert again == first
    assert list_generations(store) == [first.generation]


def test_neither_order_nor_chunks_nor_notes_in_the_schema_make_another_generation(
    store: FolderStore,
) -> None:
    first = publish(store, draft())
    made = shuffled(draft())
    halves = pa.concat_tables([made.items.slice(0, 17), made.items.slice(17)])
    noted = halves.replace_schema_metadata({"pandas": "{}"})
    assert publish(store, replace(made, items=noted)).generation == first.generation


def test_the_zone_of_a_time_makes_no_other_generation(store: FolderStore) -> None:
    first = publish(store, draft())
    elsewhere = datetime(2026, 1, 2, 8, tzinfo=timezone(timedelta(hours=8)))
    again = publish(store, replace(draft(), trained_until=elsewhere))
    assert again.generation == first.generation


@pytest.mark.parametrize(
    "other",
    [
        draft(seed=1),
        draft(41),
        replace(draft(), mix=Mix(1.0, 1.0, 0.2, 0.3, 2.0, 1.0)),
        replace(draft(), weights=EventWeights({"like": 0.9})),
        replace(draft(), trained_until=datetime(2026, 1, 3, tzinfo=UTC)),
    ],
    ids=["vectors", "items", "mix", "weights", "time"],
)
def test_other_content_is_another_generation(store: FolderStore, other: Draft) -> None:
    assert publish(store, draft()).generation != publish(store, other).generation


def test_unchanged_objects_are_not_sent_again(faulty: FaultyStore) -> None:
    publish(faulty, draft())
    before = len(faulty.created)
    publish(faulty, with_channel(draft(), "popularity", popularity([0.5] * 40)))
    sent = [key for key in faulty.created[before:] if key.startswith("objects/")]
    assert 1 <= len(sent) <= 8


# ── nothing half-published ───────────────────────────────────────────────────────────────────────


def test_the_manifest_is_the_last_write(faulty: FaultyStore) -> None:
    manifest = publish(faulty, draft())
    lease, *objects, last = faulty.created
    assert lease.startswith("leases/writer-")
    assert all(key.startswith("objects/") for key in objects)
    assert last == manifest_key(manifest.generation)


@pytest.mark.parametrize("at", ["object", "manifest"])
def test_a_publish_that_fails_leaves_nothing_visible_and_can_be_repeated(
    faulty: FaultyStore, at: str
) -> None:
    faulty.fails_before = lambda key: (
        len(faulty.created) >= 5 if at == "object" else key.startswith("generations/")
    )
    with pytest.raises(StoreUnavailable):
        publish(faulty, draft())
    assert list_generations(faulty) == []
    faulty.fails_before = lambda _: False
    manifest = publish(faulty, draft())
    assert verify(faulty, manifest.generation) == []


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "bytes instead of"),
        (flipped, "does not match its checksum"),
        (removed, "is missing"),
    ],
)
def test_a_damaged_object_is_never_read(
    store: FolderStore, folder: Path, damage: Callable[[Path], None], words: str
) -> None:
    manifest = publish(store, draft())
    ref = manifest.segments[3].objects["text"]
    damage(folder / ref.key)
    with pytest.raises(Corrupt, match=words) as caught:
        read_object(store, ref)
    assert ref.key in str(caught.value)
    assert "llmrec generations verify" in str(caught.value)
    assert [
        (found.key, words in found.problem) for found in verify(store, manifest.generation)
    ] == [(ref.key, True)]


def test_publishing_again_restores_what_was_removed(store: FolderStore) -> None:
    manifest = publish(store, draft())
    store.delete(manifest.segments[0].objects["items"].key)
    assert publish(store, draft()) == manifest
    assert verify(store, manifest.generation) == []


# ── manifests ────────────────────────────────────────────────────────────────────────────────────


def rewritten(folder: Path, manifest: Manifest, change: Callable[[str], str]) -> None:
    path = folder / manifest_key(manifest.generation)
    path.write_text(change(path.read_text("utf-8")), "utf-8")


@pytest.mark.parametrize("name", ["g-000000000000", "", "../../etc", "a/b", "g-1\n", "g" * 65])
def test_an_unknown_generation_is_named(store: FolderStore, name: str) -> None:
    with pytest.raises(GenerationNotFound, match="llmrec generations list"):
        load_manifest(store, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-40],
        lambda _: "",
        lambda _: "[]",
        lambda text: text.replace('"items": 40', '"items": "many"'),
        lambda text: text.replace('"items": 40', '"items": 40, "more": 1'),
    ],
    ids=["cut", "empty", "list", "type", "unknown"],
)
def test_a_manifest_that_cannot_be_read_is_named(
    store: FolderStore, folder: Path, change: Callable[[str], str]
) -> None:
    manifest = publish(store, draft())
    rewritten(folder, manifest, change)
    with pytest.raises(Corrupt, match=manifest.generation):
        load_manifest(store, manifest.generation)


def test_an_older_format_asks_for_another_publish(store: FolderStore, folder: Path) -> None:
    made = publish(store, draft())
    path = folder / "generations" / made.generation / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"format": PLAIN_FORMAT - 1}))
    with pytest.raises(Corrupt, match=rf"format {PLAIN_FORMAT - 1}.*Publish the catalogue again"):
        load_manifest(store, made.generation)


def test_a_newer_format_asks_for_newer_software(store: FolderStore, folder: Path) -> None:
    manifest = publish(store, draft())

    def newer(text: str) -> str:
        return json.dumps(json.loads(text) | {"format": FORMAT + 1, "shape": "new"})

    rewritten(folder, manifest, newer)
    with pytest.raises(Corrupt, match=rf"format {FORMAT + 1}.*Upgrade llmrec-ray"):
        load_manifest(store, manifest.generation)


def test_a_manifest_under_the_name_of_another_is_refused(store: FolderStore) -> None:
    manifest = publish(store, draft())
    store.create(manifest_key("g-other"), store.get(manifest_key(manifest.generation)))
    with pytest.raises(Corrupt, match=manifest.generation):
        load_manifest(store, "g-other")


# ── drafts that are refused ──────────────────────────────────────────────────────────────────────


def halved() -> np.ndarray:
    found = unit_vectors(40)
    found[7] *= 0.5
    return found


def holed(value: float) -> np.ndarray:
    found = unit_vectors(40)
    found[7, 2] = value
    return found


def twice() -> pa.Table:
    both = neighbours({("f1", "f2"): 1.0})
    return pa.concat_tables([both, both])


REFUSED: dict[str, tuple[Draft, str]] = {
    "no items": (replace(draft(), items=items([])), "no items"),
    "an id twice": (replace(draft(), items=items(["f1", *(f"f{n}" for n in range(39))])), "'f1'"),
    "an empty id": (replace(draft(), items=items(["", *(f"f{n}" for n in range(39))])), "empty"),
    "a field too many": (replace(draft(), fields={}), "columns"),
    "a dimension of another encoder": (
        with_channel(draft(), "text", vectors(np.ones((40, 1)))),
        "float",
    ),
    "a vector too short": (with_channel(draft(), "text", vectors(halved())), "'f7'"),
    "a vector with NaN": (with_channel(draft(), "text", vectors(holed(np.nan))), "'f7'"),
    "a vector with infinity": (with_channel(draft(), "text", vectors(holed(np.inf))), "'f7'"),
    "a vector missing": (
        with_channel(draft(), "text", vectors(unit_vectors(39))),
        "39 rows for 40 items",
    ),
    "a popularity above 1": (
        with_channel(draft(), "popularity", popularity([2.0] * 40)),
        r"\[0, 1\]",
    ),
    "a popularity of NaN": (
        with_channel(draft(), "popularity", popularity([float("nan")] * 40)),
        r"\[0, 1\]",
    ),
    "a popularity too many": (
        with_channel(draft(), "popularity", popularity([0.5] * 41)),
        "41 rows for 40 items",
    ),
    "neighbours of another catalogue": (
        with_channel(draft(), "neighbours", neighbours({("x", "y"): 1.0})),
        "no neighbour is an item",
    ),
    "a neighbour's weight of NaN": (
        with_channel(draft(), "neighbours", neighbours({("f1", "f2"): float("nan")})),
        "not finite",
    ),
    "a pair of neighbours twice": (with_channel(draft(), "neighbours", twice()), "occurs twice"),
    "two channels of a name": (
        replace(draft(), channels=(draft().channels[0], draft().channels[0])),
        "name of its own",
    ),
    "a channel of a bad name": (
        replace(draft(), channels=(replace(draft().channels[0], name="../x"),)),
        "small letters",
    ),
    "a channel named like the items": (
        replace(draft(), channels=(ChannelTable("items", "text", vectors(unit_vectors(40))),)),
        "name of its own",
    ),
    "a time without a zone": (
        replace(draft(), trained_until=datetime(2026, 1, 2)),  # noqa: DTZ001
        "time zone",
    ),
    "a mix of NaN": (
        replace(draft(), mix=Mix(float("nan"), 1.0, 0.1, 0.3, 2.0, 1.0)),
        "finite numbers",
    ),
}


@pytest.mark.parametrize(("refused", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_draft_that_is_unfit_is_refused(store: FolderStore, refused: Draft, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        publish(store, refused)
    assert list_generations(store) == []


@pytest.mark.parametrize("segments", [0, -1, 3, 2048])
def test_a_number_of_segments_that_divides_no_buckets_is_refused(
    store: FolderStore, segments: int
) -> None:
    with pytest.raises(InvalidInput, match="power of two"):
        publish(store, draft(), segments=segments)
