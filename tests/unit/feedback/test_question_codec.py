"""A question is read back as it was written, whatever filter it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.errors import Corrupt
from llmrec_ray.feedback import codec
from llmrec_ray.types import (
    AllOf,
    AnyOf,
    Filter,
    Not,
    Question,
    Range,
    Reading,
    RecommendRequest,
    SessionItem,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
BOUND = st.none() | NUMBERS
LEAF: st.SearchStrategy[Filter] = st.builds(
    AnyOf, WORDS, st.lists(WORDS | NUMBERS, min_size=1, max_size=3).map(tuple)
) | st.builds(Range, WORDS, BOUND, BOUND, BOUND, BOUND)
FILTER: st.SearchStrategy[Filter] = st.recursive(
    LEAF,
    lambda inner: st.builds(Not, inner) | st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
    max_leaves=6,
)
REQUEST = st.builds(
    RecommendRequest,
    user_id=st.none() | WORDS,
    session=st.lists(
        st.builds(
            SessionItem,
            WORDS,
            st.none() | NUMBERS,
            st.sampled_from((None, "like", "review")),
            st.none() | NUMBERS,
            st.none() | WORDS,
        ),
        max_size=3,
    ).map(tuple),
    text=st.none() | WORDS,
    limit=st.integers(1, 100),
    filter=st.none() | FILTER,
    exclude_ids=st.frozensets(WORDS, max_size=3),
    exclude_seen=st.booleans(),
    evidence=st.booleans(),
)


READINGS = st.dictionaries(
    WORDS, st.builds(Reading, WORDS, st.floats(-1, 1), st.binary(max_size=16)), max_size=2
)


@given(REQUEST, st.integers(1, 500), st.none() | st.binary(max_size=16), READINGS)
def test_a_question_comes_back_as_it_was(
    request: RecommendRequest, history: int, vector: bytes | None, readings: dict[str, Reading]
) -> None:
    question = Question(request, history, vector, readings)
    assert codec.decode_question(codec.encode_question(question), vector) == question


def test_a_question_of_an_earlier_release_is_read() -> None:
    stored = '{"request": {"session": [{"item_id": "a", "weight": 0.5}]}, "history": 9}'
    assert codec.decode_question(stored, None) == Question(
        RecommendRequest(session=(SessionItem("a", 0.5),)), 9
    )


def test_a_text_that_is_no_question_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="Delete its row"):
        codec.decode_question("{}", None)
