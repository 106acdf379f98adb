"""Errors of every layer of the application in, problems out."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from llmrec_ray.errors import LLMRecError
from serve.http import problems
from serve.http.answers import ErrorAt
from serve.http.middleware import request_id
from serve.http.problems import Problem


def answer_errors(app: FastAPI) -> None:
    """Answer our own errors, FastAPI's and Starlette's; the rest is the frame's to answer."""
    app.add_exception_handler(LLMRecError, _answer_error)
    app.add_exception_handler(Problem, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_parameters)
    app.add_exception_handler(HTTPException, _answer_http)


async def _answer_error(_: Request, error: Exception) -> Response:
    return problems.respond(problems.problem_of(error), request_id.get())


async def _answer_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        ErrorAt(parameter=str(one["loc"][-1]), detail=str(one["msg"])) for one in error.errors()
    ]
    return problems.respond(problems.invalid(found), request_id.get())


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        problem = Problem("method_not_allowed", f"{request.url.path} has no {request.method}.")
    else:
        problem = Problem(
            "not_found", f"there is no {request.url.path}; /docs lists what there is."
        )
    return problems.respond(problem, request_id.get(), error.headers)
