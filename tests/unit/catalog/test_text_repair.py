import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmrec_ray.catalog.repair import clean_text

LIMIT = 80


@pytest.mark.parametrize(
    ("raw", "clean", "repairs"),
    [
        ("AmÃ©lie", "Amélie", ("wrong encoding repaired",)),
        ("the filmâ€™s end", "the film’s end", ("wrong encoding repaired",)),
        ("æ—¥æœ¬", "日本", ("wrong encoding repaired",)),
        ("<p>One</p><p>two</p>", "One two", ("HTML removed", "whitespace tidied")),
        ("H<sub>2</sub>O", "H2O", ("HTML removed",)),
        ("a<br/>b", "a b", ("HTML removed",)),
        ('x<a href="u">link</a>', "xlink", ("HTML removed",)),
        ("a<script>steal()</script>b", "a b", ("HTML removed", "whitespace tidied")),
        ("a <!-- hidden --> b", "a b", ("HTML removed", "whitespace tidied")),
        ("Q&amp;A", "Q&A", ("entities unescaped",)),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold", ("entities unescaped", "HTML removed")),
        ("&amp;amp;amp;eacute;", "é", ("entities unescaped",)),
        ("a\x00b\x1b[31mc\u200b", "abc", ("control characters removed",)),
        ("e\u0301", "é", ("accents composed",)),
        ("  a \n\t b\u3000c ", "a b c", ("whitespace tidied",)),
        ("word " * 40, "word " * 15 + "word", ("whitespace tidied", "cut to 80 characters")),
        ("x" * 100, "x" * 80, ("cut to 80 characters",)),
    ],
)
def test_a_text_is_repaired_and_the_repair_named(
    raw: str, clean: str, repairs: tuple[str, ...]
) -> None:
    assert clean_text(raw, LIMIT) == (clean, repairs)


@pytest.mark.parametrize(
    "text",
    [
        "Vec<String> and Map<K, V>",
        "I <3 you; 1 < 2 > 0",
        "AT&T, B&copyright, R&D;",
        "“quoted” – and ﬁne",
        "ＦＵＬＬ　ｗｉｄｔｈ。中文，标点！".replace("　", " "),
        "می\u200cخواهم",
        "👩\u200d👧",
        "Ünïcödé Ærøskøbing Ж 日本",
    ],
)
def test_a_good_text_stays_as_it_is(text: str) -> None:
    assert clean_text(text, LIMIT) == (text, ())


# Pieces that repairs act on, next to any text: what one repair uncovers, another must still see.
PIECES = st.sampled_from(
    [
        *"&;<>",
        "&amp;",
        "&lt;",
        "&gt;",
        "&#38;",
        "lt;",
        "<b>",
        "</p>",
        "<br",
        "<!--",
        "-->",
        "<script>",
        "Ã©",
        "â€™",
        "Ã",
        "©",
        "\x00",
        "\u200b",
        "́",
        "  ",
        "\n",
        "Ł",
        "中",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=6), max_size=30).map("".join)


@given(TEXTS)
@example("&am\x00p;")
@example("<\x00b>")
@example("Ã\u200b©")
def test_cleaning_a_clean_text_changes_nothing(raw: str) -> None:
    once, _ = clean_text(raw, LIMIT)
    assert clean_text(once, LIMIT) == (once, ())
    assert len(once) <= LIMIT
    once.encode()  # what is stored is UTF-8


@given(st.text(alphabet=string.ascii_letters + string.digits + ".,;!", max_size=LIMIT))
def test_plain_text_is_never_touched(text: str) -> None:
    assert clean_text(text, LIMIT) == (text, ())


def test_a_text_made_to_be_slow_is_not() -> None:
    for piece in ("&amp;", "&#38;amp;", "<script", "<!--", "<b ", "&lt;", "<script>"):
        clean_text(piece * 100_000, 20_000)
