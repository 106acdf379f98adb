"""What an evaluation reads: which events are relevant, and errors for what cannot be used."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmrec_ray.catalog.description import load_description
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import InvalidCatalog
from llmrec_ray.evaluation.data import Data, is_relevant, read_data, upper_part
from llmrec_ray.types import Event, EventType
from tests.support.evaluating import write_catalog


def event(kind: EventType, value: float | None = None) -> Event:
    return Event("e", "u", "i", kind, datetime(2026, 1, 1, tzinfo=UTC), value)


def read(path: Path, relevant_from: float | None = None) -> Data:
    embedder = HashingEmbedder()
    return read_data(
        load_description(path), embedder.passages, embedder.info, relevant_from=relevant_from
    )


def edited(folder: Path, old: str, new: str) -> Path:
    path = write_catalog(folder)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return path


@pytest.mark.parametrize(("low", "high", "least"), [(0.5, 5, 4), (1, 5, 4), (1, 10, 8)])
def test_the_upper_part_of_a_scale_is_its_last_quarter(low: float, high: float, least: int) -> None:
    threshold = upper_part([event("rating", low), event("rating", high)])
    assert is_relevant(event("rating", least), threshold)
    assert not is_relevant(event("rating", least - 1), threshold)


def test_without_a_value_everything_but_a_dislike_is_relevant() -> None:
    assert is_relevant(event("view"), 4.0)
    assert not is_relevant(event("dislike"), None)


def test_constant_ratings_are_all_relevant() -> None:
    threshold = upper_part([event("rating", 3), event("rating", 3)])
    assert is_relevant(event("rating", 3), threshold)


def test_the_threshold_can_be_given(tmp_path: Path) -> None:
    path = write_catalog(tmp_path)
    default, fives = read(path), read(path, 5)
    assert default.relevant_from == 4
    values = [e.value for past in fives.pasts for e in past.events]
    assert set(values) == {5}
    assert sum(map(len, default.pasts)) > len(values)


def test_an_order_within_a_user_is_enough(tmp_path: Path) -> None:
    data = read(edited(tmp_path, "time: time", "order: time"))
    assert not data.timed
    assert [e.time for e in data.pasts[0].events] == sorted(e.time for e in data.pasts[0].events)


def test_neither_time_nor_order_is_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalog, match=r"Add `time: COLUMN` or `order: COLUMN`"):
        read(edited(tmp_path, ", time: time", ""))


def test_a_description_without_events_is_an_error(tmp_path: Path) -> None:
    path = write_catalog(tmp_path)
    path.write_text(path.read_text().split("events:")[0])
    with pytest.raises(InvalidCatalog, match="no events to evaluate with"):
        read(path)
