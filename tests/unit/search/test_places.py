"""Places of texts without a Python object each: they answer as a dictionary of them would."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.search.places import Column, Hashed

ASKED = st.text(st.characters(), max_size=3)  # lone surrogates too, which no catalogue holds
HELD = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)


@given(st.lists(HELD, unique=True, max_size=60), st.lists(ASKED, max_size=20))
def test_every_text_is_found_at_its_place_and_no_other_text_is(
    held: list[str], asked: list[str]
) -> None:
    column = Column(pa.array(held, pa.string()))
    places = Hashed(column)
    assert {text: places.get(text) for text in held} == {text: n for n, text in enumerate(held)}
    assert [text in places for text in asked] == [text in held for text in asked]
    assert list(column) == [column[place] for place in range(len(column))] == held
