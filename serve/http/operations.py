"""The routes of those who run it: generations, liveness, readiness, and the docs page."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from llmrec_ray.errors import Corrupt
from serve.http import answers
from serve.http.bodies import path_id
from serve.http.docs_page import DOCS_PAGE
from serve.http.problems import Problem, documented
from serve.http.replies import done, reply
from serve.http.service import Service


def add_generations(app: APIRouter, service: Service) -> None:
    """List generations, and make one current."""

    @app.get(
        "/v1/generations",
        summary="The published generations, and which one answers",
        responses=done(answers.GenerationsAnswer) | documented("corrupt", "store_unavailable"),
    )
    async def generations() -> Response:
        with _corrupt_told():
            return reply(await service.generations.listed(service.view.serving()))

    @app.post(
        "/v1/generations/{generation}:activate",
        summary="Make a published generation current; an older one is a rollback",
        responses=done(answers.ActivationAnswer)
        | documented("generation_not_found", "encoder_mismatch", "conflict", "corrupt")
        | documented("invalid_input", "store_unavailable"),
    )
    async def activate(
        generation: Annotated[str, Depends(path_id("generation", service.limits))],
    ) -> Response:
        with _corrupt_told():
            return reply(await service.generations.activate(generation))


@contextmanager
def _corrupt_told() -> Generator[None]:
    """Who runs the service can act on what cannot be read, and is told what it is."""
    try:
        yield
    except Corrupt as error:
        raise Problem(error.code, str(error)) from error


def add_health(app: FastAPI, service: Service) -> None:
    """What needs no key."""

    @app.get("/livez", summary="Whether the process runs", responses=done(answers.AliveAnswer))
    async def livez() -> Response:
        return reply(answers.AliveAnswer(alive=True))

    @app.get(
        "/readyz",
        summary="Whether requests can be answered, and what each part has and waits for",
        responses=done(answers.ReadyAnswer)
        | {503: {"model": answers.ReadyAnswer, "description": "not ready"}},
    )
    async def readyz() -> Response:
        serving = service.view.serving()
        parts = [
            answers.ComponentAnswer(
                name=part.name, ready=part.waits_for is None, has=part.has, waits_for=part.waits_for
            )
            for part in service.view.components()
        ]
        answer = answers.ReadyAnswer(
            ready=serving is not None, generation=serving, components=parts
        )
        return reply(answer, 200 if answer.ready else 503)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(DOCS_PAGE)
