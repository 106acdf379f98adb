"""Errors in, RFC 9457 problems out: the only place that maps codes to HTTP."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import Response

from llmrec_ray.errors import LLMRecError
from serve.http.answers import ErrorAt, ProblemAnswer

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

_STATUS = {
    "invalid_input": (422, "The request cannot be used"),
    "invalid_filter": (422, "The filter cannot be used"),
    "events_rejected": (422, "No event was stored"),
    "malformed_body": (400, "The body is not JSON"),
    "unauthorized": (401, "No key that is known"),
    "forbidden": (403, "The key may not do this"),
    "body_timeout": (408, "The body did not arrive in time"),
    "unsupported_media_type": (415, "The body has another media type"),
    "too_large": (413, "Too large"),
    "not_found": (404, "Not found"),
    "item_not_found": (404, "No such item"),
    "generation_not_found": (404, "No such generation"),
    "method_not_allowed": (405, "Method not allowed"),
    "erased": (410, "It was erased"),
    "conflict": (409, "Conflict"),
    "corrupt": (409, "What is stored cannot be read"),
    "event_conflict": (409, "The event id was used with another body"),
    "version_conflict": (412, "The item was changed meanwhile"),
    "not_replayable": (409, "What it was computed from is not at hand"),
    "worse_generation": (409, "Training made a worse generation"),
    "encoder_mismatch": (409, "Made with another embedding model"),
    "generation_missing": (503, "The generation is being loaded"),
    "overloaded": (429, "Too many requests"),
    "rate_limited": (429, "Too many requests from one caller"),
    "unavailable": (503, "A part of the service does not answer"),
    "store_unavailable": (503, "The object store does not answer"),
    "event_store_unavailable": (503, "The event store does not answer"),
    "stream_unavailable": (503, "The message broker does not answer"),
    "embedder_unavailable": (503, "The embedder does not answer"),
    "generator_unavailable": (503, "The generator does not answer"),
    "search_unavailable": (503, "No shard answers"),
    "not_ready": (503, "No generation is loaded yet"),
}
_UNTOLD = frozenset({"corrupt"})
"""What only those who run it can act on: their routes raise it as a `Problem`."""
_INTERNAL = (500, "Internal error")


class Problem(Exception):
    """An error that only HTTP knows; `code` is a key of the table above."""

    def __init__(
        self,
        code: str,
        detail: str,
        errors: Iterable[ErrorAt] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def problem_of(error: BaseException) -> Problem:
    """What a client may know of an error; of a stranger's error only that it happened."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, LLMRecError) and error.code in _STATUS.keys() - _UNTOLD:
        return Problem(error.code, str(error))
    return Problem("internal", "The request failed inside the service; its log has the reason.")


def answer(problem: Problem, request_id: str) -> ProblemAnswer:
    """The problem as it is written, with the id under which the log knows the request."""
    status, title = _STATUS.get(problem.code, _INTERNAL)
    return ProblemAnswer(
        type=f"urn:llmrec:problem:{problem.code.replace('_', '-')}",
        code=problem.code,
        title=title,
        status=status,
        detail=str(problem),
        errors=list(problem.errors) or None,
        request_id=request_id,
    )


def respond(
    problem: Problem, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The problem as an HTTP answer; what may work later says when to try again."""
    body = answer(problem, request_id)
    extra = {**problem.headers, **(headers or {})}
    if body.status in {429, 503}:
        extra.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(body.model_dump_json(exclude_none=True), body.status, extra, MEDIA_TYPE)


def of_validation(error: ValidationError) -> Problem:
    """Every value of a body that cannot be used, each with its JSON pointer."""
    found = error.errors(include_url=False, include_input=False)
    if found and found[0]["type"] == "json_invalid":
        return Problem("malformed_body", f"The body is not JSON in UTF-8: {found[0]['msg']}.")
    return invalid([ErrorAt(pointer=_pointer(one), detail=one["msg"]) for one in found])


def invalid(errors: list[ErrorAt]) -> Problem:
    """One 422 for all values that cannot be used."""
    first = errors[0]
    where = first.parameter or first.pointer or ""
    rest = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid_input", f"{where}: {first.detail}{rest}.", errors)


def _pointer(error: ErrorDetails) -> str:
    """A JSON pointer as a URI fragment (RFC 6901, section 6), without the tags of unions."""
    parts = [str(part) for part in error["loc"] if not str(part).startswith("<")]
    return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for an operation that may answer with these problems."""
    statuses: dict[int, list[str]] = {}
    for code in codes:
        statuses.setdefault(_STATUS[code][0], []).append(code)
    schema = {"$ref": "#/components/schemas/ProblemAnswer"}
    return {
        status: {"description": ", ".join(named), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, named in statuses.items()
    }
