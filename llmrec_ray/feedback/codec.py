"""An answer, or the question it answers, in, JSON text out, and back without losing a bit."""

from dataclasses import dataclass, field

from pydantic import Base64UrlBytes, TypeAdapter, ValidationError

from llmrec_ray.errors import Corrupt
from llmrec_ray.types import Question, Reading, Recommendations, RecommendRequest


@dataclass(frozen=True, slots=True)
class _Read:
    """A `Reading`, its vector's bytes as text."""

    encoder: str
    lean: float
    vector: Base64UrlBytes


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question without its vector, which a table keeps as bytes."""

    request: RecommendRequest
    history: int
    readings: dict[str, _Read] = field(default_factory=dict[str, _Read])


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
    read = {
        name: _Read(one.encoder, one.lean, one.vector) for name, one in question.readings.items()
    }
    return _QUESTION.dump_json(_Asked(question.request, question.history, read)).decode()


def decode_question(text: str, vector: bytes | None) -> Question:
    """The question that `encode_question` wrote, with its vector; `Corrupt` where it is none."""
    try:
        asked = _QUESTION.validate_json(text)
    except ValidationError as cause:
        raise _unreadable() from cause
    read = {
        name: Reading(one.encoder, one.lean, one.vector) for name, one in asked.readings.items()
    }
    return Question(asked.request, asked.history, vector, read)


def _unreadable() -> Corrupt:
    return Corrupt(
        "a stored recommendation cannot be read: something else than this release wrote it. "
        "Delete its row, or let it expire."
    )
