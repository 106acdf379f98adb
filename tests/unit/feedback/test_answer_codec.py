"""Stored answers: what is read is what was written, to the last bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.errors import Corrupt
from llmrec_ray.feedback.codec import decode, encode
from llmrec_ray.types import Coverage, EventShare, Evidence, Recommendations, Recommended

numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
shares = st.builds(
    EventShare,
    event_id=words,
    item_id=st.none() | words,
    title=st.none() | words,
    type=words,
    share=numbers,
    value=st.none() | numbers,
)
evidence = st.builds(Evidence, shares=st.lists(shares, max_size=3).map(tuple), prior=numbers)
items = st.builds(
    Recommended,
    item_id=words,
    title=words,
    score=numbers,
    rank=st.integers(1, 1000),
    evidence=st.none() | evidence,
)
answers = st.builds(
    Recommendations,
    recommendation_id=words,
    generation=words,
    user_version=st.none() | st.integers(0, 2**62),
    items=st.lists(items, max_size=3).map(tuple),
    coverage=st.builds(Coverage, st.integers(0, 1024), st.integers(0, 1024)),
    degraded=st.lists(words, max_size=2).map(tuple),
)


@given(answers)
def test_an_answer_survives_its_storage_bit_for_bit(answer: Recommendations):
    again = decode(encode(answer))
    assert again == answer
    assert repr(again) == repr(answer)  # tells -0.0 from 0.0


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"recommendation_id": 3}', "\0"])
def test_a_text_that_is_no_answer_is_corrupt(text: str):
    with pytest.raises(Corrupt, match="Delete its row"):
        decode(text)
