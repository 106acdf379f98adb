from collections.abc import Callable

import pytest

from llmrec_ray.catalog.clean import clean_catalog
from llmrec_ray.catalog.description import CatalogDescription
from llmrec_ray.catalog.passage import Passage
from llmrec_ray.catalog.text import item_texts
from llmrec_ray.types import FieldValue

Describe = Callable[..., CatalogDescription]

FILM = "{title} ({year}). {genres}. Directed by {director}."


def passage(template: str, **values: FieldValue) -> str:
    compiled = Passage(template)
    return compiled([values.get(name) for name in compiled.fields])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"year": 1995.0, "genres": ("Crime", "Drama"), "director": "Michael Mann"},
            "Heat (1995). Crime, Drama. Directed by Michael Mann.",
        ),
        ({"genres": ("Crime",), "director": "M. Mann"}, "Heat. Crime. Directed by M. Mann."),
        ({"year": 1995.0, "director": "Mann"}, "Heat (1995). Directed by Mann."),
        ({"year": 1995.0, "genres": ("Crime",)}, "Heat (1995). Crime."),
        ({}, "Heat."),
    ],
)
def test_what_is_missing_is_left_out_gracefully(values: dict[str, FieldValue], text: str) -> None:
    assert passage(FILM, title="Heat", **values) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("By {who}[ in {where}].", "By Mann."),
        ("By {who} in {where}.", ""),
        ("{where}。导演：{who}。", "导演：Mann。"),
        ("Film. {where} {who}", "Film."),
        ("{who}\n{where}\n{who}", "Mann\nMann"),
    ],
)
def test_a_missing_field_takes_its_brackets_or_its_sentence_with_it(
    template: str, text: str
) -> None:
    assert passage(template, who="Mann") == text


def test_a_full_stop_is_not_doubled() -> None:
    assert passage("{title}. By {who}.", title="Who's There?", who="Ed Jr.") == (
        "Who's There? By Ed Jr."
    )


def test_a_dot_within_a_value_ends_no_sentence() -> None:
    assert passage("{title} ({year}).", title="E.T. the Extra-Terrestrial", year=1982.0) == (
        "E.T. the Extra-Terrestrial (1982)."
    )


def test_a_number_keeps_its_fraction() -> None:
    assert passage("{score}", score=7.25) == "7.25"


DATA = "id,title,plot,genres,year,poster\na,Heat,Cops and robbers,Crime|Drama,1995,\nb,Up,,,,\n"


def test_without_a_template_title_texts_and_tags_are_joined(describe: Describe) -> None:
    described = describe(DATA)
    items = clean_catalog(described).items
    assert item_texts(items, described) == ["Heat. Cops and robbers. Crime, Drama.", "Up."]


def test_a_template_is_filled_for_every_item(describe: Describe) -> None:
    described = describe(DATA, more='passage: "{title} ({year}). {plot}"')
    items = clean_catalog(described).items
    assert item_texts(items, described) == ["Heat (1995). Cops and robbers", "Up."]
