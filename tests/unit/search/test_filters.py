"""Filters: which rows pass, and what a wrong filter is told."""

import pytest

from llmrec_ray.errors import InvalidFilter
from llmrec_ray.search.filters import mask, validate_filter
from llmrec_ray.types import AllOf, AnyOf, FieldKind, Filter, Not, Range
from tests.unit.search.conftest import tables

FIELDS: dict[str, FieldKind] = {"year": "number", "genres": "tags", "country": "text"}
ITEMS = tables(60).items
YEARS = [1980.0 + n % 40 if n % 7 else None for n in range(60)]


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        (AnyOf("country", ("Peru",)), lambda n: n % 3 == 0),
        (AnyOf("genres", ("crime", "comedy")), lambda n: n >= 0),
        (AnyOf("genres", ("crime",)), lambda n: n % 2 == 1),
        (AnyOf("year", (1981.0,)), lambda n: YEARS[n] == 1981),
        (Range("year", gte=1990, lt=2000), lambda n: YEARS[n] and 1990 <= YEARS[n] < 2000),
        (Range("year", gt=1990, lte=2000), lambda n: YEARS[n] and 1990 < YEARS[n] <= 2000),
        (Not(Range("year", gte=0)), lambda n: YEARS[n] is None),
        (
            AllOf((AnyOf("country", ("France",)), Not(AnyOf("genres", ("comedy",))))),
            lambda n: n % 3 and n % 2,
        ),
    ],
)
def test_a_filter_passes_the_rows_it_describes(condition: Filter, passes: object) -> None:
    assert callable(passes)
    validate_filter(condition, FIELDS)
    assert mask(condition, ITEMS).tolist() == [bool(passes(n)) for n in range(60)]


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (AnyOf("director", ("x",)), "no field 'director'; it has: country, genres, year"),
        (Range("genres", gte=1), "not a number; ranges work on: year"),
        (AnyOf("year", ("1990",)), "holds numbers, and '1990' is not one"),
        (AnyOf("country", (3.0,)), "holds texts"),
        (AllOf((Not(AnyOf("nope", (1.0,))),)), "no field 'nope'"),
    ],
)
def test_a_wrong_filter_names_the_field_and_the_remedy(condition: Filter, told: str) -> None:
    with pytest.raises(InvalidFilter, match=told):
        validate_filter(condition, FIELDS)
