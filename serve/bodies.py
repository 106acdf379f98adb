"""A request's body in, a checked message out; whatever is wrong with it leaves as a problem."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from llmrec_ray.settings import LimitSettings
from serve.problems import Problem, of_validation

M = TypeVar("M", bound=BaseModel)


def reader(model: type[M], limits: LimitSettings) -> Callable[[Request], Awaitable[M]]:
    """A FastAPI dependency that reads JSON into the model, within the limits."""
    adapter = TypeAdapter(model)

    async def read(request: Request) -> M:
        _check_media_type(request.headers.get("content-type", ""))
        body = await read_body(request, limits.body_bytes)
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
    """FastAPI's `openapi_extra` for a body that `reader` reads."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
