"""An answer, or the question it answers, in, JSON text out, and back without losing a bit."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from llmrec_ray.errors import Corrupt
from llmrec_ray.types import Question, Recommendations, RecommendRequest


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question without its vector, which a table keeps as bytes."""

    request: RecommendRequest
    history: int


_ANSWER = TypeAdapter(Recommendations)
_QUESTION = TypeAdapter(_Asked)


def encode(answer: Recommendations) -> str:
    """The answer as JSON; a float is written as the shortest text that reads back as itself."""
    return _ANSWER.dump_json(answer).decode()


def decode(text: str) -> Recommendations:
    """The answer that `encode` wrote; `Corrupt` where the text is none."""
    try:
        return _ANSWER.validate_json(text)
    except ValidationError as cause:
        raise _unreadable() from cause


def encode_question(question: Question) -> str:
    """The question as JSON, without its vector."""
    return _QUESTION.dump_json(_Asked(question.request, question.history)).decode()


def decode_question(text: str, vector: bytes | None) -> Question:
    """The question that `encode_question` wrote, with its vector; `Corrupt` where it is none."""
    try:
        asked = _QUESTION.validate_json(text)
    except ValidationError as cause:
        raise _unreadable() from cause
    return Question(asked.request, asked.history, vector)


def _unreadable() -> Corrupt:
    return Corrupt(
        "a stored recommendation cannot be read: something else than this release wrote it. "
        "Delete its row, or let it expire."
    )
