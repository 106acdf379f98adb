"""Answer models in, HTTP responses and their descriptions for OpenAPI out."""

from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

SEARCHING = ("not_ready", "overloaded", "rate_limited")
"""The problems of every route that asks the shards."""


def reply(answer: BaseModel, status: int = 200, *, tag: str | None = None) -> Response:
    """The answer as JSON, without what is None; `tag` is its ETag."""
    headers = {"ETag": f'"{tag}"'} if tag else None
    body = answer.model_dump_json(exclude_none=True)
    return Response(body, status, headers, media_type="application/json")


def done(model: type[BaseModel], *, streamed: bool = False) -> dict[int | str, dict[str, Any]]:
    """How a 200 is documented; `streamed`: it may be asked for as server-sent events."""
    answer: dict[str, Any] = {"model": model, "description": "Done"}
    if streamed:
        answer["content"] = {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": "event: recommendations\ndata: {…}\n\nevent: piece\ndata: {…}\n\n"
                "event: explanation\ndata: {…}\n\nevent: done\ndata: {…}\n\n",
            }
        }
    return {200: answer}
