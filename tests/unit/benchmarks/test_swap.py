"""The benchmark of swaps: copies with titles of their own; what it counts as failed or mixed."""

from pathlib import Path

import pytest

from benchmarks.swap import MARKS, Found, copies
from llmrec_ray.errors import GenerationNotFound
from llmrec_ray.generation.activation import activate, current
from llmrec_ray.generation.contents import contents
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.schemas import TITLE
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.local import FolderStore
from loadtest.ledger import Ledger
from loadtest.replies import MIXED
from tests.support.generations import draft


def ledger(ms: float) -> Ledger:
    made = Ledger()
    for number in range(99):
        made.answered("recommend", ms + number / 1000)
    made.answered("recommend", 10 * ms)
    made.answered("stream", 100_000)
    return made


def test_copies_differ_in_their_titles_alone_and_share_what_is_the_same(tmp_path: Path) -> None:
    source, store = FolderStore(tmp_path / "source"), FolderStore(tmp_path / "store")
    made = publish(source, draft(20))
    activate(source, made.generation, "test")
    marks = copies(source, store)
    assert sorted(marks.values()) == sorted(MARKS)
    newest = current(store)
    assert newest is not None
    assert marks[newest.generation] == MARKS[0]
    plain = texts(contents(source, made).items, TITLE)
    for generation, mark in marks.items():
        manifest = load_manifest(store, generation)
        assert texts(contents(store, manifest).items, TITLE) == [mark + title for title in plain]
        for before, copy in zip(made.segments, manifest.segments, strict=True):
            same = before.objects.keys() - {"items"}
            assert {name: before.objects[name] for name in same} == {
                name: copy.objects[name] for name in same
            }


def test_without_a_generation_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(GenerationNotFound, match="make demo"):
        copies(FolderStore(tmp_path), FolderStore(tmp_path))


def test_refused_calls_count_as_failed_and_mixed_ones_by_themselves() -> None:
    swapping = ledger(20)
    swapping.refused("search", "not_ready")
    swapping.failed("recommend", f"{MIXED}: a title is not of the generation")
    found = Found(ledger(10), swapping)
    assert (found.failed, found.mixed) == (2, 1)


def test_ratios_leave_out_what_a_language_model_writes() -> None:
    ratios = Found(ledger(10), ledger(20)).ratios()
    assert ratios["swap_failed"] == 0
    assert ratios["longest_vs_steady"] == pytest.approx(2, rel=0.05)
    assert ratios["p99_vs_steady"] == pytest.approx(2, rel=0.05)
