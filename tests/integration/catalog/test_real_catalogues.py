"""Real files: the demo's films from installed wheels, and evaluation data where there is some."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from demo.films import DESCRIPTION, make
from llmrec_ray.catalog.clean import Cleaned, clean_catalog
from llmrec_ray.catalog.description import CatalogDescription, load_description
from llmrec_ray.catalog.events import read_events
from llmrec_ray.catalog.text import item_texts

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("LLMREC_TEST_DATA") or ROOT.parent / "shared" / "data")

Describe = Callable[[str, str], CatalogDescription]


def ids(cleaned: Cleaned) -> list[str]:
    return cast("list[str]", cleaned.items["item_id"].to_pylist())


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """A description of a folder of evaluation data; skips where it is absent."""

    def load(folder: str, text: str) -> CatalogDescription:
        if not (DATA / folder).is_dir():
            pytest.skip(f"no {folder} in {DATA}: name the folder by LLMREC_TEST_DATA")
        path = tmp_path / "catalog.yaml"
        path.write_text(text.replace("DATA", str(DATA / folder)), "utf-8")
        return load_description(path)

    return load


def test_the_demo_has_its_films_and_most_ratings(tmp_path: Path) -> None:
    joined = make(tmp_path)
    described = load_description(tmp_path / DESCRIPTION)
    cleaned = clean_catalog(described)
    events = read_events(described, ids(cleaned))
    assert cleaned.report.kept == joined.films == 17_472
    assert events.report.kept == joined.ratings_found > 0.95 * joined.ratings
    assert not cleaned.report.rejected
    assert not events.report.rejected
    texts = item_texts(cleaned.items, described)
    assert len(texts) == len(cleaned.items)
    assert any(text.endswith("Star Wars: Episode IV – A New Hope.") for text in texts)


def test_movielens_is_read_whole(describe: Describe) -> None:
    described = describe(
        "movielens-small",
        """
files: DATA/items.csv
columns:
  id: item_id
  title: title
  text: [overview, tagline, director, country]
  tags: [genres, cast, keywords, user_tags]
  numbers: [year]
  images: [poster_path]
events:
  files: DATA/ratings.csv
  type: rating
  columns: {user: userId, item: movieId, value: rating, time: timestamp}
""",
    )
    cleaned = clean_catalog(described)
    assert cleaned.report.kept == 9_742
    assert cleaned.scales["year"].minimum == 1902
    events = read_events(described, ids(cleaned))
    assert (events.report.kept, events.report.rejected) == (100_836, {})


def test_books_with_commas_between_tags_are_read_whole(describe: Describe) -> None:
    described = describe(
        "goodbooks",
        """
files: DATA/items.csv
tag_separator: ","
columns:
  id: item_id
  title: title
  text: {about: description, authors: authors}
  tags: [genres]
  numbers: [year]
  images: [image_url]
""",
    )
    cleaned = clean_catalog(described)
    assert cleaned.report.kept == 10_000
    assert not cleaned.report.rejected


def test_products_ordered_without_time_are_read_whole(describe: Describe) -> None:
    described = describe(
        "beauty",
        """
files: DATA/items.csv
tag_separator: " > "
columns: {id: item_id, title: title, tags: [categories]}
events:
  files: DATA/interactions.csv
  type: purchase
  columns: {user: user_id, item: item_id, order: position}
""",
    )
    cleaned = clean_catalog(described)
    assert cleaned.report.kept == 12_101
    events = read_events(described, ids(cleaned))
    assert (events.report.kept, events.report.rejected) == (198_502, {})
