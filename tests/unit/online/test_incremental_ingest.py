"""Ingesting again: what is unchanged or finished is not embedded again; answers are the same."""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.compaction import compact
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import EncoderMismatch, InvalidInput, LLMRecError, Unavailable
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.generation.collection import find_garbage
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.retention import Retention
from llmrec_ray.items.log import ItemWrite
from llmrec_ray.pipeline import Progress, Sources, ingest, unseen
from llmrec_ray.settings import LearningSettings
from llmrec_ray.shard import Shard
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.text_vectors import Chunk, Embed
from llmrec_ray.types import Float32s, Ints, NearQuery, Scope
from tests.support.generations import FaultyStore

COUNT = 60
Pool = Callable[[Embed, Iterable[Chunk]], Iterator[tuple[Ints, Float32s]]]

DESCRIPTION = """
files: items.jsonl
columns: {id: id, title: title, text: [plot], numbers: [year]}
"""


class Died(Exception):
    """The process is gone."""


def rows(count: int = COUNT) -> dict[str, dict[str, object]]:
    return {
        f"i{n}": {"id": f"i{n}", "title": f"Item {n}", "plot": f"Of word{n}.", "year": 1900 + n}
        for n in range(count)
    }


def small(embed: Embed, chunks: Iterable[Chunk]) -> Iterator[tuple[Ints, Float32s]]:
    """Two texts at once, as if by workers that finish in another order."""
    pieces = [
        (chunk.rows[at : at + 2], chunk.texts[at : at + 2])
        for chunk in chunks
        for at in range(0, len(chunk.rows), 2)
    ]
    for one, other in zip(pieces[1::2], pieces[::2], strict=False):
        for places, texts in (one, other):
            yield places, embed(texts)
    if len(pieces) % 2:
        yield pieces[-1][0], embed(pieces[-1][1])


@dataclass
class Place:
    """Stores and a catalogue file in a folder, and what was asked of the encoder."""

    folder: Path
    events: SqlEventStore
    store: FaultyStore = field(init=False)
    asked: list[str] = field(default_factory=list[str])
    dies_after: int | None = None

    def __post_init__(self) -> None:
        self.store = FaultyStore(FolderStore(self.folder / "objects", durable=False))
        (self.folder / "items.yaml").write_text(DESCRIPTION, "utf-8")

    def embed(self, texts: Sequence[str]) -> Float32s:
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise Died
        self.asked += texts
        return HashingEmbedder().passages(texts)

    def run(
        self,
        items: Mapping[str, Mapping[str, object]] | Sequence[Mapping[str, object]],
        embed: Embed | None = None,
        pool: Pool = small,
        progress: Progress = unseen,
    ) -> Manifest:
        """Ingest these items; what was asked and written is counted from here on."""
        self.asked, self.store.created = [], []
        lines = items.values() if isinstance(items, Mapping) else items
        text = "\n".join(json.dumps(line) for line in lines)
        (self.folder / "items.jsonl").write_text(text, "utf-8")
        return ingest(
            self.folder / "items.yaml",
            Sources(self.store, self.events, "test", self.events.items),
            embed=embed or self.embed,
            encoder=HashingEmbedder().info,
            learning=LearningSettings(),
            rejected=self.folder / "rejected",
            pool=pool,
            progress=progress,
        ).manifest

    def objects(self) -> list[str]:
        return [key for key in self.store.created if key.endswith(".arrow")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    opened: list[Place] = []

    def make(name: str = "one") -> Place:
        folder = tmp_path / name
        folder.mkdir()
        events = open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600)
        opened.append(Place(folder, events))
        return opened[-1]

    yield make
    for each in opened:
        each.events.close()


MakePlace = Callable[..., Place]


def answers(store: FaultyStore, manifest: Manifest) -> list[object]:
    """Every item with its score for one question, and the mean of the texts."""
    shard = Shard(store, 0, 1)
    shard.prepare(manifest)
    asked = HashingEmbedder().queries(["word3 and word40"])[0]
    [found] = shard.near(manifest.generation, [NearQuery(asked, "dot", Scope(1000))])
    items = shard.lookup(manifest.generation, [one.item_id for one in found])[0]
    return [[(one.item_id, one.score, items[one.item_id]) for one in found], manifest.text_mean]


def test_the_same_catalogue_again_costs_nothing(place: MakePlace) -> None:
    home = place()
    first = home.run(rows())
    assert len(home.asked) == COUNT
    again = home.run(rows())
    assert (home.asked, home.objects()) == ([], [])
    assert again.generation == first.generation


def test_a_change_embeds_and_stores_the_changed_alone(place: MakePlace) -> None:
    home = place()
    home.run(rows())
    now = rows()
    now["i7"] |= {"plot": "A violin sails."}
    now["i8"] |= {"year": 2024}
    now["new"] = {"id": "new", "title": "New", "plot": "Of word3.", "year": 1}
    del now["i9"]
    made = home.run(now)
    assert sorted(home.asked) == ["Item 7. A violin sails.", "New. Of word3."]
    assert (made.items, made.segments[-1].rows) == (COUNT, 3)
    assert answers(home.store, made) == answers((other := place("two")).store, other.run(now))


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_after_random_changes_answer_bit_for_bit_as_a_full_ingest(
    place: MakePlace, seed: int
) -> None:
    random = np.random.default_rng(seed)
    home, now = place(), rows()
    made = home.run(now)
    for step in range(3):
        for name in random.choice(list(now), 3, replace=False).tolist():
            now[name] = now[name] | {"plot": f"word{random.integers(50)} and step {step}."}
        del now[str(random.choice(list(now)))]
        now[f"new{step}"] = {"id": f"new{step}", "title": "New", "plot": "Of word3.", "year": 1}
        made = home.run(now)
        assert len(home.asked) <= 4
        full = place(f"full{step}")
        assert answers(home.store, made) == answers(full.store, full.run(now))
    compacted = compact(home.store, home.events.items, "test", home.embed)
    assert compacted is not None
    assert {one.first_bucket for one in compacted.manifest.segments} == set(range(0, 1024, 128))
    assert answers(home.store, compacted.manifest) == answers(home.store, made)
    assert compact(home.store, home.events.items, "test", home.embed) is None


def test_a_run_that_died_goes_on_from_the_finished_segments(place: MakePlace) -> None:
    home = place()
    asked: list[str] = []
    for allowed in (20, 35):
        home.dies_after = allowed
        with pytest.raises(Died):
            home.run(rows())
        asked += home.asked
    home.dies_after = None
    made = home.run(rows())
    asked += home.asked
    # an eighth of the items is a segment: at most one and a half a death was in the making
    assert COUNT <= len(asked) <= COUNT + 2 * 20
    assert len(home.asked) < COUNT - 20
    assert answers(home.store, made) == answers((other := place("two")).store, other.run(rows()))


def test_what_a_dead_run_left_is_not_stored_again_and_is_garbage_at_last(place: MakePlace) -> None:
    home = place()
    home.dies_after = 40
    with pytest.raises(Died):
        home.run(rows())
    left = home.objects()
    assert left
    home.dies_after = None
    made = home.run(rows())
    assert not set(left) & set(home.objects())
    named = {ref.key for one in made.segments for ref in one.objects.values()}
    assert set(left) <= named
    assert find_garbage(home.store, Retention()).sizes == {}, "what is young stays"


def test_a_finished_part_that_is_missing_is_embedded_again(place: MakePlace) -> None:
    home = place()
    home.dies_after = 40
    with pytest.raises(Died):
        home.run(rows())
    for key in home.objects():
        (home.folder / "objects" / key).unlink()
    home.dies_after = None
    home.run(rows())
    assert len(home.asked) == COUNT


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (lambda made: made[:, :32], EncoderMismatch, "64 dimensions.*same model"),
        (lambda made: made * np.float32(np.nan), InvalidInput, "not finite and of length 1.*i"),
        (lambda made: made * 0, InvalidInput, "not finite and of length 1"),
    ],
    ids=["another dimension", "NaN", "zero vectors"],
)
def test_bad_vectors_are_refused_and_nothing_of_them_is_remembered(
    place: MakePlace,
    bad: Callable[[Float32s], Float32s],
    error: type[LLMRecError],
    words: str,
) -> None:
    home = place()
    with pytest.raises(error, match=words):
        home.run(rows(), lambda texts: bad(HashingEmbedder().passages(texts)))
    assert home.objects() == []
    assert home.run(rows()).items == COUNT


def test_an_id_twice_in_the_files_is_one_item(place: MakePlace) -> None:
    home = place()
    items = [*rows().values(), {"id": "i3", "title": "Another", "plot": "", "year": 0}]
    assert home.run(items).items == COUNT
    assert (home.folder / "rejected" / "items.jsonl").read_text("utf-8").count("duplicate id") == 1


def test_a_text_of_ten_megabytes_is_cut_and_ingested(place: MakePlace) -> None:
    home, now = place(), rows()
    now["i5"] |= {"plot": "word " * 2_000_000}
    assert home.run(now).items == COUNT
    assert max(map(len, home.asked)) < 30_000


def test_a_full_temporary_disk_is_told_before_anything_is_embedded(
    place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int, __: int, size: int) -> None:
        assert size == COUNT * 64 * 4
        raise OSError(errno.ENOSPC, "No space left on device")

    home = place()
    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        with pytest.raises(Unavailable, match=r"15,360 bytes in /.*No space.*TMPDIR"):
            home.run(rows())
    assert home.asked == []
    assert home.run(rows()).items == COUNT


def test_a_catalogue_of_which_every_item_is_deleted_live_is_refused(place: MakePlace) -> None:
    home = place()
    home.events.items.write([ItemWrite(item_id, None) for item_id in rows(3)])
    with pytest.raises(InvalidInput, match="no items"):
        home.run(rows(3))


def test_learning_is_shown_before_it_begins(place: MakePlace) -> None:
    told: list[tuple[str, int]] = []
    place().run(rows(), progress=lambda stage, done, _: told.append((stage, done)))
    begun = told.index(("learn", 0))
    assert told.index(("embed", COUNT)) < begun < told.index(("learn", 1))
