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
    session=st.lists(st.builds(SessionItem, WORDS, NUMBERS), max_size=3).map(tuple),
    text=st.none() | WORDS,
    limit=st.integers(1, 100),
    filter=st.none() | FILTER,
    exclude_ids=st.frozensets(WORDS, max_size=3),
    exclude_seen=st.booleans(),
    evidence=st.booleans(),
)


@given(REQUEST, st.integers(1, 500), st.none() | st.binary(max_size=16))
def test_a_question_comes_back_as_it_was(
    request: RecommendRequest, history: int, vector: bytes | None
) -> None:
    question = Question(request, history, vector)
    assert codec.decode_question(codec.encode_question(question), vector) == question


def test_a_text_that_is_no_question_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="Delete its row"):
        codec.decode_question("{}", None)
