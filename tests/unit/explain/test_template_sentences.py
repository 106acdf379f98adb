import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.explain.phrasing import phrases
from llmrec_ray.explain.template import render
from tests.support.explaining import (
    ALIEN,
    CASINO,
    HEAT,
    NASTY,
    THIEF,
    facts,
    item,
    samples,
    share,
)

NAMES = (
    "Michael Mann",
    "Al Pacino",
    "Robert De Niro",
    "Val Kilmer",
    "Martin Scorsese",
    "James Caan",
)


def every_language() -> list[set[str]]:
    shares = (share("casino", 0.5, kind="rating", value=5.0), share("thief", 0.4, kind="click"))
    return [samples(phrases(facts(HEAT, *shares), seed=str(seed))) for seed in range(40)]


def test_an_explanation_names_the_item_and_the_event() -> None:
    text = render(facts(HEAT, share("casino", kind="rating", value=5.0)))
    assert "Heat" in text
    assert "Casino" in text
    assert "five stars" in text


def test_the_same_facts_give_the_same_text() -> None:
    assert render(facts(HEAT, share("casino"))) == render(facts(HEAT, share("casino")))


def test_a_list_of_ten_does_not_read_the_same() -> None:
    films = [item(f"film-{n}", f"Film {n}", genres=("Crime",)) for n in range(10)]
    texts = [render(facts(film, share("casino"))).replace(film.title, "It") for film in films]
    assert len(set(texts)) >= 5
    assert max(map([text.split(" ")[0] for text in texts].count, ["You", "Because", "Like"])) <= 6


def test_no_fact_is_said_twice() -> None:
    for texts in every_language():
        for text in texts:
            for name in (*NAMES, "Crime", "Biography", "Casino", "Thief", "1995"):
                assert text.count(name) <= 1, text


def test_a_fact_is_said_only_of_the_items_that_have_it() -> None:
    for texts in every_language():
        for text in texts:
            assert "Martin Scorsese" not in text
            assert "James Caan" not in text
            for sentence in re.split(r"(?<=\.) ", text):
                if "Robert De Niro" in sentence:
                    assert "Casino" in sentence
                if "Michael Mann" in sentence:
                    assert "Thief" in sentence


def test_every_text_is_one_or_two_sentences_that_end() -> None:
    for texts in every_language():
        for text in texts:
            assert re.fullmatch(r"[^.]+\.( [^.]+\.)?", text), text
            assert not re.search(r"\b(\w+) \1\b", text), text


def test_popularity_is_said_where_nothing_personal_carries_the_score() -> None:
    for seed in range(20):
        for text in samples(phrases(facts(HEAT, prior=0.5), seed=str(seed))):
            assert "ther users" in text or "popular" in text


def test_a_history_that_cannot_be_named_is_not_called_popularity() -> None:
    for seed in range(20):
        for text in samples(phrases(facts(HEAT, share("gone")), seed=str(seed))):
            assert "popular" not in text
            assert "ther users" not in text


def test_an_unknown_taste_claims_nothing_about_the_user() -> None:
    assert "you liked" not in render(facts(HEAT))


def test_items_that_share_no_field_are_called_close() -> None:
    text = render(facts(HEAT, share("alien")))
    assert "Alien" in text
    assert "share" not in text


def test_a_query_is_quoted() -> None:
    text = render(facts(HEAT, share(None, kind="query", title="bank heist")))
    assert "search for “bank heist”" in text


def test_a_query_without_text_is_still_a_search() -> None:
    assert "your search" in render(facts(HEAT, share(None, kind="query"))).lower()


def test_an_item_without_a_title_is_called_this_item() -> None:
    text = render(facts(item("x", ""), share("casino")))
    assert "his item" in text
    assert "  " not in text


def test_a_name_that_ends_with_a_full_stop_gets_no_second() -> None:
    one = item("x", "X", star="Robert Downey Jr.")
    two = item("y", "Y", star="Robert Downey Jr.")
    known = facts(one, share("y"), known=(two,))
    for seed in range(30):
        for text in samples(phrases(known, seed=str(seed))):
            assert ".." not in text


def test_a_room_that_is_too_small_leaves_the_shortest_opening() -> None:
    assert samples(phrases(facts(HEAT, share("casino")), seed="1", room=10))


def test_a_room_caps_every_text() -> None:
    shares = (share("casino"), share("thief", 0.4))
    for seed in range(30):
        for text in samples(phrases(facts(HEAT, *shares), seed=str(seed), room=90)):
            assert len(text) <= 90


@pytest.mark.parametrize("title", NASTY)
def test_any_title_makes_one_clean_line(title: str) -> None:
    odd = item("odd", title, tags=("Crime", title))
    for target, event in ((odd, share("casino")), (CASINO, share("odd"))):
        text = render(facts(target, event, known=(odd, CASINO, THIEF, ALIEN)))
        assert text.isprintable() or "‍" in text
        assert text.endswith(".")
        assert text.encode("utf-8")


@given(title=st.text(max_size=200), value=st.text(max_size=80))
def test_any_text_of_a_catalogue_can_be_explained(title: str, value: str) -> None:
    one, two = item("x", title, tags=(value,)), item("y", "Y", tags=(value,))
    text = render(facts(one, share("y"), known=(two,)))
    assert text.endswith(".")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("director", ("A", "B"), "the directors A and B"),
        ("genres", ("A",), "the genre A"),
        ("categories", ("A",), "the category A"),
        ("country", ("A", "B"), "the countries A and B"),
        ("user_tags", ("A", "B"), "the user tags A and B"),
        ("series", ("A",), "the series A"),
        ("crew", ("A", "B"), "A and B in the crew"),
        ("导演", ("张艺谋",), "the 导演 张艺谋"),
    ],
)
def test_field_names_become_words(field: str, values: tuple[str, ...], said: str) -> None:
    one, two = item("x", "One", **{field: values}), item("y", "Two", **{field: values})
    known = facts(one, share("y"), known=(two,))
    texts = set().union(*(samples(phrases(known, seed=str(seed))) for seed in range(9)))
    assert any(said in text for text in texts)
