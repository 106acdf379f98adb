"""Length-sorted batches: every place once, bounded by texts and by tokens with padding."""

from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.embedding.graph import batches

lengths = st.lists(st.integers(1, 512), max_size=80)


@given(lengths, st.integers(1, 9), st.integers(1, 2000))
def test_every_text_is_in_one_batch(lengths: list[int], texts: int, tokens: int):
    places = [place for one in batches(lengths, texts=texts, tokens=tokens) for place in one]
    assert sorted(places) == list(range(len(lengths)))


@given(lengths, st.integers(1, 9), st.integers(1, 2000))
def test_a_batch_keeps_to_both_bounds(lengths: list[int], texts: int, tokens: int):
    for batch in batches(lengths, texts=texts, tokens=tokens):
        padded = len(batch) * max(lengths[place] for place in batch)
        assert len(batch) <= texts
        assert padded <= tokens or len(batch) == 1


@given(lengths)
def test_no_later_batch_holds_a_shorter_text(lengths: list[int]):
    sizes = [lengths[place] for one in batches(lengths, texts=4) for place in one]
    assert sizes == sorted(sizes)


def test_texts_of_like_length_share_a_batch():
    assert list(batches([9, 2, 8, 1], texts=2)) == [[3, 1], [2, 0]]
