"""A request's body and path in, checked values out; what is wrong with them is a problem."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from fastapi import Path, Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from llmrec_ray.settings import LimitSettings
from serve.http.answers import ErrorAt
from serve.http.crowd import arriving
from serve.http.fields import Id
from serve.http.problems import Problem, documented, invalid, of_validation

M = TypeVar("M", bound=BaseModel)


def reader(model: type[M], limits: LimitSettings) -> Callable[[Request], Awaitable[M]]:
    """A FastAPI dependency that reads JSON into the model, within the limits."""
    adapter = TypeAdapter(model)

    async def read(request: Request) -> M:
        _check_media_type(request.headers.get("content-type", ""))
        try:
            async with arriving(limits.body_s):
                body = await read_body(request, limits.body_bytes)
        except TimeoutError as cause:
            raise _too_slow(limits.body_s) from cause
        try:
            return adapter.validate_json(body, context=limits)
        except ValidationError as error:
            raise of_validation(error) from error

    return read


async def read_body(request: Request, most: int) -> bytes:
    """The whole body, given up at the first byte over the limit, whatever length was declared."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
    except ClientDisconnect as cause:
        raise Problem("malformed_body", "The connection ended before the body did.") from cause
    return bytes(body)


def _too_slow(most_s: float) -> Problem:
    return Problem(
        "body_timeout",
        f"The body did not arrive in time ({most_s:g} s, less where many arrive at once); send it"
        " again, or less at once.",
        headers={"Connection": "close"},
    )


def _too_large(most: int) -> Problem:
    return Problem(
        "too_large", f"The body is over {most} bytes; send less at once, such as smaller batches."
    )


def _check_media_type(value: str) -> None:
    kind, _, parameters = value.lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    if kind.strip() != "application/json" or charset not in {"", "utf-8"}:
        raise Problem(
            "unsupported_media_type",
            "Send the body as JSON in UTF-8, with the header Content-Type: application/json.",
        )


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """FastAPI's `openapi_extra` for a body that `reader` reads, and why it may refuse to."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    refused = documented("malformed_body", "too_large", "unsupported_media_type")
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {str(status): response for status, response in refused.items()},
    }


def path_id(name: str, limits: LimitSettings) -> Any:
    """A dependency that reads an id from the path, where it stands percent-encoded."""
    adapter = TypeAdapter(Id)

    async def read(encoded: Annotated[str, Path(alias=name)]) -> str:  # else in a thread
        try:
            return adapter.validate_python(unquote(encoded, errors="strict"), context=limits)
        except UnicodeDecodeError as cause:
            raise invalid(
                [ErrorAt(parameter=name, detail="must be percent-encoded UTF-8")]
            ) from cause
        except ValidationError as cause:
            details = [one["msg"] for one in cause.errors(include_url=False)]
            raise invalid([ErrorAt(parameter=name, detail=detail) for detail in details]) from cause

    return read
