"""An answer in, JSON text out, and back without losing a bit."""

from pydantic import TypeAdapter, ValidationError

from llmrec_ray.errors import Corrupt
from llmrec_ray.types import Recommendations

_ANSWER = TypeAdapter(Recommendations)


def encode(answer: Recommendations) -> str:
    """The answer as JSON; a float is written as the shortest text that reads back as itself."""
    return _ANSWER.dump_json(answer).decode()


def decode(text: str) -> Recommendations:
    """The answer that `encode` wrote; `Corrupt` where the text is none."""
    try:
        return _ANSWER.validate_json(text)
    except ValidationError as cause:
        raise Corrupt(
            "a stored recommendation cannot be read: something else than this release wrote it. "
            "Delete its row, or let it expire."
        ) from cause
