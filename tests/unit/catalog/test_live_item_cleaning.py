"""A live item is cleaned as a row of a file is, and what a row would lose is refused by name."""

import math
from pathlib import Path

import pytest

from llmrec_ray.catalog.clean import clean_catalog
from llmrec_ray.catalog.description import load_description
from llmrec_ray.catalog.live import Given, ItemDraft, clean_item
from llmrec_ray.catalog.text import item_passage, item_texts, template_of
from llmrec_ray.errors import InvalidInput
from llmrec_ray.types import FieldKind, Item

KINDS: dict[str, FieldKind] = {
    "plot": "text",
    "genres": "tags",
    "year": "number",
    "poster": "image",
}


def cleaned(title: str = "Heat", **fields: Given) -> Item:
    return clean_item(ItemDraft("a", title, fields), KINDS)


def test_texts_are_repaired_and_empty_values_left_out() -> None:
    item = cleaned(
        " Heat&amp; ", plot="<b>Cops</b>  and robbers", genres=["crime", "", "crime"], year=1995
    )
    assert item.title == "Heat&"
    assert item.fields == {"plot": "Cops and robbers", "genres": ("crime",), "year": 1995.0}
    assert cleaned(plot=" ", genres=[], year=None).fields == {}


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"rating": 5.0}, "fields/rating", "no field of the catalogue; it has: genres, plot"),
        ({"plot": 5.0}, "fields/plot", "must be a text"),
        ({"plot": ["a"]}, "fields/plot", "must be a text"),
        ({"year": "1995"}, "fields/year", "must be a number"),
        ({"year": math.nan}, "fields/year", "must be a finite number"),
        ({"year": math.inf}, "fields/year", "must be a finite number"),
        ({"genres": "crime"}, "fields/genres", "must be a list of texts"),
        ({"genres": [str(n) for n in range(201)]}, "fields/genres", "has 201 tags"),
        ({"genres": ["x" * 201]}, "fields/genres", "has 201 characters"),
        ({"plot": "x" * 10_000_000}, "fields/plot", "has 10000000 characters"),
        ({"poster": "https://a b"}, "fields/poster", "without white space"),
        ({"poster": "https://" + "a" * 2_048}, "fields/poster", "over 2048 characters"),
        ({"poster": 1.0}, "fields/poster", "must be an address"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    fields: dict[str, Given], field: str, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        clean_item(ItemDraft("a", "Heat", fields), KINDS, index=3)
    assert caught.value.details == {"field": field, "index": 3}


@pytest.mark.parametrize("title", ["", "  ", "<b></b>", "x" * 501])
def test_a_title_that_says_nothing_or_too_much_is_refused(title: str) -> None:
    with pytest.raises(InvalidInput, match="title"):
        cleaned(title)


STORED = Item("a", "x" * 606, {"year": 1995.0, "studio": "Regency", "plot": ("a", "list")})


def test_what_is_kept_of_a_stored_item_is_not_checked_again() -> None:
    kept = clean_item(ItemDraft("a", None, {"genres": ["crime"]}, base=STORED), KINDS)
    assert kept == Item("a", "x" * 606, {"year": 1995.0, "genres": ("crime",)})
    with pytest.raises(InvalidInput, match="title has 606 characters"):
        clean_item(ItemDraft("a", STORED.title, {}, base=STORED), KINDS)


def test_a_field_that_the_catalogue_does_not_have_can_be_taken_away() -> None:
    given: dict[str, Given] = {"studio": None, "year": None}
    assert clean_item(ItemDraft("a", "Heat", given, base=STORED), KINDS) == Item("a", "Heat")


def test_a_live_item_has_the_passage_of_the_same_row_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text(
        "id,title,plot,genres,year\na,Heat,<i>Cops</i> and robbers.,crime|drama,1995\nb,Up,,,\n"
    )
    (tmp_path / "films.yaml").write_text(
        "files: films.csv\n"
        "columns: {id: id, title: title, text: [plot], tags: [genres], numbers: [year]}\n"
        'passage: "{title} ({year}). {plot} Genres: {genres}."\n'
    )
    described = load_description(tmp_path / "films.yaml")
    of_the_file = item_texts(clean_catalog(described).items, described)
    live = [
        cleaned("Heat", plot="<i>Cops</i> and robbers.", genres=["crime", "drama"], year=1995),
        cleaned("Up"),
    ]
    assert [item_passage(item, template_of(described)) for item in live] == of_the_file
