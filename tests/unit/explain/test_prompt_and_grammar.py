import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.explain.grammar import (
    OneOf,
    Then,
    capped,
    contains,
    ebnf,
    ended,
    longest,
    one_of,
    quoted,
    then,
    walk,
)
from llmrec_ray.explain.prompt import prompt_of, says
from llmrec_ray.explain.template import render
from tests.support.explaining import CASINO, HEAT, NASTY, facts, item, samples, share

SMALL = then("a", one_of(["b", then("c", one_of(["d", "ee"]))]), "f")


def prompted(title: str, *, max_tokens: int = 64):
    odd = item("odd", title, genres=("Crime",))
    return prompt_of(facts(odd, share("casino")), seed=3, max_tokens=max_tokens)


def test_a_language_is_its_texts() -> None:
    assert samples(SMALL) == {"abf", "acdf", "aceef"}
    assert all(contains(SMALL, text) for text in samples(SMALL))
    assert not any(contains(SMALL, text) for text in ("", "ab", "abff", "acf", "bf"))


def test_a_language_is_one_rule_of_ebnf() -> None:
    assert ebnf(SMALL) == 'root ::= "a" ("b" | "c" ("d" | "ee")) "f"'


def test_capping_keeps_exactly_what_fits() -> None:
    fitted = capped(SMALL, 4, len)
    assert fitted is not None
    assert samples(fitted) == {"abf", "acdf"}
    assert longest(fitted, len) == 4
    assert capped(SMALL, 2, len) is None


def test_a_full_stop_ends_every_text_once() -> None:
    assert samples(ended(then("by ", one_of(["Ann", "Ray Jr."])))) == {"by Ann.", "by Ray Jr."}


def test_equal_options_count_once_and_none_are_refused() -> None:
    assert one_of(["a", "a"]) == "a"
    assert one_of(["a", OneOf(("a", "b"))]) == OneOf(("a", "b"))
    assert then("a", "", "b") == "ab"
    assert isinstance(then("a", one_of(["b", "c"])), Then)
    with pytest.raises(ValueError, match="option"):
        one_of([])


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_is_ascii_and_reads_back(text: str) -> None:
    literal = quoted(text)
    assert literal.isascii()
    assert "\n" not in literal
    assert ast.literal_eval(literal) == text


@pytest.mark.parametrize("title", NASTY)
def test_nothing_in_a_title_leaves_its_quotes_in_the_prompt(title: str) -> None:
    prompt = prompted(title)
    first, *rest = prompt.user.split("\n")
    assert re.fullmatch(r'Item: "[^"]*"', first)
    assert [line.split(":")[0] for line in rest] == ["User", "Answer"]
    assert "<|" not in prompt.user
    assert "[" not in prompt.user


def test_a_long_title_leaves_the_prompt_short() -> None:
    assert len(prompted("word " * 1000).user) < 300


def test_the_system_text_is_the_same_for_every_request() -> None:
    assert prompted("One").system == prompted("Two").system


def test_the_prompt_holds_no_more_than_the_facts() -> None:
    prompt = prompt_of(facts(HEAT, share("casino")), seed=1, max_tokens=64)
    assert "Martin Scorsese" not in prompt.user + prompt.grammar
    assert "Casino" in prompt.user


def test_the_openings_depend_on_the_seed_and_the_item() -> None:
    grammars = {
        prompt_of(facts(HEAT, share("casino")), seed=seed, max_tokens=64).grammar[:24]
        for seed in range(30)
    }
    assert len(grammars) >= 4


def test_a_text_of_the_language_is_said_by_the_facts() -> None:
    known = facts(HEAT, share("casino"))
    language = _sentences(known)
    assert language
    assert all(says(text, known, seed=3, max_tokens=64) for text in language)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "You liked Casino, so you may like Heat",
        "You liked Casino, so you may like Heat: they share the genre Comedy.",
        "You liked Casino, so you may like Heat: they share the director Martin Scorsese.",
        "You liked Casino, so you may like Heat: they share the genre Crime. Buy now.",
    ],
)
def test_a_text_with_more_or_less_than_the_facts_is_not(text: str) -> None:
    known = facts(HEAT, share("casino"))
    assert not any(says(text, known, seed=seed, max_tokens=64) for seed in range(40))


def test_a_cut_off_text_is_not_said() -> None:
    known = facts(HEAT, share("casino"))
    for text in _sentences(known):
        assert not says(text[:-1], known, seed=3, max_tokens=64)


def test_few_tokens_leave_short_texts() -> None:
    known = facts(HEAT, share("casino"), share("thief", 0.4))
    for seed in range(20):
        for text in _sentences(known, seed=seed, max_tokens=30):
            assert len(text) <= 90


@given(title=st.text(max_size=120), query=st.text(max_size=120), seed=st.integers(0, 9))
def test_any_texts_make_a_grammar_of_one_ascii_line(title: str, query: str, seed: int) -> None:
    odd = item("odd", title, tags=(query,))
    known = facts(odd, share("casino"), share(None, 0.9, kind="query", title=query))
    prompt = prompt_of(known, seed=seed, max_tokens=64)
    assert prompt.grammar.isascii()
    assert "\n" not in prompt.grammar
    assert prompt.user.encode("utf-8")


def _sentences(known, *, seed: int = 3, max_tokens: int = 64) -> set[str]:
    """The language read back from the grammar itself, by a reader of its own."""
    grammar = prompt_of(known, seed=seed, max_tokens=max_tokens).grammar
    source = grammar.removeprefix("root ::= ")
    node, rest = _choice(re.findall(r'"(?:\\.|[^"\\])*"|[()|]', source))
    assert rest == []
    return samples(node, 60)


def _choice(tokens: list[str]):
    options, parts = [], []
    while tokens and tokens[0] != ")":
        head, tokens = tokens[0], tokens[1:]
        if head == "|":
            options.append(then(*parts))
            parts = []
        elif head == "(":
            inner, tokens = _choice(tokens)
            parts.append(inner)
            tokens = tokens[1:]
        else:
            parts.append(ast.literal_eval(head))
    return one_of([*options, then(*parts)]), tokens


def test_the_template_speaks_one_of_the_same_sentences() -> None:
    text = render(facts(CASINO, share("heat")))
    assert "Casino" in text
    assert walk(text, lambda n: n - 1) == text
