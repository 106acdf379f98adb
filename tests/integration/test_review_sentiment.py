"""How a review was meant, by each packaged encoder: on sentences that are not among its anchors."""

import pytest

from llmrec_ray.embedding import open_embedder
from llmrec_ray.embedding.sentiment import Sentiment
from llmrec_ray.ports import Embedder

ENGLISH = (
    ["Absolutely delightful from start to finish.", "The lead is superb and the ending perfect."],
    ["Dreadful from start to finish.", "The lead is wooden and the ending stupid."],
)
OTHERS = (
    ["Ein wunderbarer Film, ich war begeistert.", "这部电影太精彩了。", "Прекрасный фильм."],
    ["Ein langweiliger Film, ich bin enttäuscht.", "这部电影太无聊了。", "Ужасный фильм."],
)
PLAIN = ["It comes with a cable and a box.", "The film is set in Norway.", "It was made in 1995."]


def leans(embedder: Embedder, texts: list[str]) -> list[float]:
    sentiment = Sentiment(embedder)
    return [sentiment.reading(vector).lean for vector in embedder.queries(texts)]


@pytest.fixture(scope="module", params=["all-MiniLM-L6-v2", "multilingual-e5-small"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return open_embedder(request.param)


def test_praise_pulls_scorn_pushes_and_plain_words_do_little(embedder: Embedder) -> None:
    good, bad = (leans(embedder, texts) for texts in ENGLISH)
    assert min(good) > 0 > max(bad)
    plain = leans(embedder, PLAIN)
    assert max(map(abs, plain)) < min(map(abs, good + bad))
    assert sum(map(abs, plain)) / len(plain) < 0.1


@pytest.mark.parametrize("embedder", ["multilingual-e5-small"], indirect=True)
def test_the_multilingual_encoder_judges_other_languages_by_the_same_sentences(
    embedder: Embedder,
) -> None:
    good, bad = (leans(embedder, texts) for texts in OTHERS)
    assert min(good) > 0 > max(bad)
