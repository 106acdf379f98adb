import pytest

from llmrec_ray.explain.evidence import Fact, facts_of
from llmrec_ray.types import Evidence
from tests.support.explaining import ALIEN, CASINO, HEAT, THIEF, facts, item, share


def test_events_are_cited_by_the_size_of_their_share() -> None:
    found = facts(HEAT, share("casino", 0.2), share("thief", 0.7), share("alien", 0.1))
    assert [cited.title for cited in found.cited] == ["Thief", "Casino"]
    assert found.ground == "events"


@pytest.mark.parametrize(
    ("kind", "value", "did", "which"),
    [
        ("rating", 5.0, "gave five stars to", "gave five stars"),
        ("rating", 4.5, "gave 4.5 stars to", "gave 4.5 stars"),
        ("rating", None, "rated", "rated"),
        ("like", None, "liked", "liked"),
        ("click", None, "clicked on", "clicked on"),
        ("view", None, "viewed", "viewed"),
        ("purchase", None, "bought", "bought"),
        ("review", None, "reviewed", "reviewed"),
        ("session", None, "viewed", "viewed"),
    ],
)
def test_an_event_is_worded_as_what_the_user_did(
    kind: str, value: float | None, did: str, which: str
) -> None:
    (cited,) = facts(HEAT, share("casino", kind=kind, value=value)).cited
    assert (cited.did, cited.which) == (did, which)


def test_a_rating_on_another_scale_names_its_top() -> None:
    evidence = Evidence((share("casino", kind="rating", value=8),), 0.0)
    items = {"casino": CASINO}
    (cited,) = facts_of(HEAT, evidence, items, 2, rating_scale=(0, 10)).cited
    assert cited.did == "gave 8 out of 10 to"


@pytest.mark.parametrize(
    ("kind", "value"), [("dislike", None), ("rating", 1.0), ("rating", 3.0), ("review", 2.0)]
)
def test_what_the_user_turned_down_is_never_cited(kind: str, value: float | None) -> None:
    found = facts(HEAT, share("casino", kind=kind, value=value))
    assert found.cited == ()
    assert found.ground == "history"


def test_a_negative_share_is_never_cited() -> None:
    assert [cited.title for cited in facts(HEAT, share("casino", -0.9), share("thief")).cited] == [
        "Thief"
    ]


def test_an_event_of_an_unknown_item_is_skipped() -> None:
    found = facts(HEAT, share("gone", 0.9), share("casino", 0.1))
    assert [cited.title for cited in found.cited] == ["Casino"]


def test_what_events_on_a_lost_shard_add_is_never_cited() -> None:
    found = facts(HEAT, share(None, 0.9, kind="unattributed"))
    assert (found.cited, found.ground) == ((), "history")


def test_an_item_without_a_title_is_not_cited() -> None:
    found = facts(HEAT, share("blank"), known=(HEAT, item("blank", " \n")))
    assert (found.cited, found.ground) == ((), "history")


def test_two_events_on_one_item_are_cited_once() -> None:
    found = facts(
        HEAT, share("casino", 0.5), share("casino", 0.4, kind="click"), share("thief", 0.1)
    )
    assert [cited.title for cited in found.cited] == ["Casino", "Thief"]


def test_titles_that_two_items_have_carry_their_year() -> None:
    old = item("heat-1972", "Heat", year=1972.0)
    found = facts(HEAT, share("heat-1972"), known=(HEAT, old))
    assert (found.title, found.cited[0].title) == ("Heat (1995)", "Heat (1972)")


def test_an_item_with_the_same_title_and_no_year_is_not_cited() -> None:
    found = facts(item("a", "Tea"), share("b"), known=(item("a", "Tea"), item("b", "Tea")))
    assert found.cited == ()


def test_the_prior_speaks_where_it_is_the_largest_share() -> None:
    found = facts(HEAT, share("casino", 0.2), prior=0.3)
    assert (found.ground, found.cited) == ("popular", ())


def test_a_user_without_positive_events_is_told_of_popularity() -> None:
    assert facts(HEAT, share("casino", -0.1), prior=0.01).ground == "popular"


def test_without_events_and_popularity_nothing_is_claimed() -> None:
    assert facts(HEAT).ground == "unknown"


def test_a_query_is_cited_with_its_text() -> None:
    (cited,) = facts(HEAT, share(None, kind="query", title=" bank\nheist ")).cited
    assert (cited.is_query, cited.title, cited.did) == (True, "bank heist", "searched for")


def test_a_query_that_is_the_items_title_is_cited() -> None:
    assert facts(HEAT, share(None, kind="query", title="Heat")).cited[0].title == "Heat"


def test_what_two_items_share_is_found_in_any_field() -> None:
    (cited,) = facts(HEAT, share("casino")).cited
    assert set(cited.shared) == {
        Fact("genres", ("Crime",), "plural"),
        Fact("cast", ("Robert De Niro",), "within"),
        Fact("year", ("1995",), "time"),
    }


def test_a_catalogue_of_other_things_is_worded_by_its_own_fields() -> None:
    tea = item("tea", "Green Tea", brand="Kettle & Co", user_tags=("loose leaf",), price=4.0)
    pot = item("pot", "Tea Pot", brand="Kettle & Co", user_tags=("loose leaf", "gift"), price=4.0)
    (cited,) = facts(tea, share("pot"), known=(tea, pot)).cited
    assert cited.shared == (
        Fact("brand", ("Kettle & Co",), "single"),
        Fact("user tags", ("loose leaf",), "plural"),
    )


def test_items_of_one_decade_share_it() -> None:
    (cited,) = facts(
        item("x", "X", releaseYear=1990.0), share("y"), known=(item("y", "Y", releaseYear=1999.0),)
    ).cited
    assert cited.shared == (Fact("release year", ("the 1990s",), "time"),)


def test_a_value_that_two_fields_hold_is_told_once() -> None:
    fields = {"director": ("Ana Ruiz",), "writer": ("Ana Ruiz",)}
    (cited,) = facts(item("x", "X", **fields), share("y"), known=(item("y", "Y", **fields),)).cited
    assert [fact.values for fact in cited.shared] == [("Ana Ruiz",)]


def test_rare_values_come_before_common_ones() -> None:
    others = tuple(item(f"o{n}", f"O{n}", tags=("common", f"tag {n}")) for n in range(8))
    one, two = item("x", "X", tags=("common", "rare")), item("y", "Y", tags=("common", "rare"))
    (cited,) = facts(one, share("y"), known=(two, *others)).cited
    assert cited.shared == (Fact("tags", ("rare",), "plural"),)


def test_a_field_in_which_all_items_look_alike_explains_nothing() -> None:
    others = tuple(item(f"o{n}", f"O{n}", country="France") for n in range(8))
    one, two = item("x", "X", country="France"), item("y", "Y", country="France")
    assert facts(one, share("y"), known=(two, *others)).cited[0].shared == ()


@pytest.mark.parametrize(
    "text", ["http://pictures/1.png", "A long story. " * 9, "He came, he saw, he won.", "X"]
)
def test_texts_that_make_no_phrase_are_not_facts(text: str) -> None:
    one, two = item("x", "X", about=text), item("y", "Y", about=text)
    found = facts(one, share("y"), known=(two,))
    assert (found.fields, found.cited[0].shared) == ((), ())


def test_control_characters_and_excess_length_do_not_reach_the_facts() -> None:
    found = facts(item("x", "A\x00B\n\u202eC " + "long " * 99))
    assert found.title.startswith("A B C long")
    assert found.title.endswith("…")
    assert len(found.title) <= 80


def test_the_evidence_of_the_best_neighbour_does_not_depend_on_the_order_of_shares() -> None:
    one, two = share("casino", 0.3), share("thief", 0.3)
    assert facts(HEAT, one, two) == facts(HEAT, two, one)
    assert facts(HEAT, one, two).cited[1].title == THIEF.title
    assert ALIEN.title not in {cited.title for cited in facts(HEAT, one, two).cited}


def test_a_field_with_a_singular_name_stays_one_however_many_values_it_holds() -> None:
    many = tuple(f"Name {n}" for n in range(9))
    one, two = item("x", "X", director=many), item("y", "Y", director=many)
    assert facts(one, share("y"), known=(two,)).cited[0].shared[0].form == "single"
