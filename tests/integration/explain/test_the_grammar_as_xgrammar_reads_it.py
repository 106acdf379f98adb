"""The library that masks the model's tokens reads our grammars as we mean them; no model is run."""

import pytest

from llmrec_ray.explain.grammar import ebnf
from llmrec_ray.explain.phrasing import phrases
from tests.support.explaining import CASINO, NASTY, facts, item, samples, share

xgrammar = pytest.importorskip("xgrammar", reason="comes with vLLM")

LETTERS = [bytes([byte]) for byte in range(256)]


def accepts(grammar: str, text: str) -> bool:
    vocabulary = xgrammar.TokenizerInfo([*LETTERS, "</s>"], stop_token_ids=[256])
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(vocabulary).compile_grammar(grammar))
    return matcher.accept_string(text) and matcher.accept_token(256)


@pytest.mark.parametrize("title", NASTY)
def test_every_text_and_no_other_is_accepted(title: str) -> None:
    odd = item("odd", title, genres=("Crime", title))
    language = phrases(facts(odd, share("casino"), known=(CASINO, odd)), seed="2")
    grammar = ebnf(language)
    for text in samples(language, 6):
        assert accepts(grammar, text)
        assert not accepts(grammar, text + " ")
        assert not accepts(grammar, text[:-1])
        assert not accepts(grammar, text.replace("Casino", "Cabaret"))
