"""The HTTP interface: requests in, the `Recommender`'s answers or problems out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from fastapi import FastAPI

from serve.http.access import Gate
from serve.http.crowd import Crowd
from serve.http.events import add_events
from serve.http.items import ItemRoutes
from serve.http.middleware import Frame
from serve.http.openapi import describe
from serve.http.operations import add_generations, add_health
from serve.http.questions import add_recommendations, add_search, add_similar
from serve.http.refusals import answer_errors
from serve.http.service import Service
from serve.observe.requests import Observer


def create_app(
    service: Service,
    *,
    echoed: bool = False,
    admin_apart: bool = False,
    before: Coroutine[Any, Any, None] | None = None,
    background: Sequence[Coroutine[Any, Any, None]] = (),
) -> FastAPI:
    """The ASGI application; `before` ends before it is up, `background` runs while it is.

    `echoed` is explained at `Frame`.

    With `admin_apart` the admin routes are left to `create_admin_app`.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if before is not None:
            await before
        running = [asyncio.ensure_future(work) for work in background]
        yield
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    app = FastAPI(
        title="llmrec-ray",
        description="What a user should see next, and why, from evidence that can be checked.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_middleware(Crowd, most=service.limits.in_flight)
    app.add_middleware(Frame, observer=Observer(service.meters), echoed=echoed)
    answer_errors(app)
    gate = Gate(service.keys, service.limits)
    read, write, admin = gate.router("read"), gate.router("write"), gate.router("admin")
    add_recommendations(read, service)
    add_similar(read, service)
    items = ItemRoutes(service)
    items.add_reads(read)
    items.add_writes(write)
    add_search(read, service)
    add_events(write, service)
    add_generations(admin, service)
    for router in (read, write) if admin_apart else (read, write, admin):
        app.include_router(router)
    add_health(app, service)
    describe(app, service.limits)
    return app


def create_admin_app(service: Service) -> FastAPI:
    """The admin routes alone, for a port of their own; the same keys open them."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Crowd, most=service.limits.in_flight)
    app.add_middleware(Frame, observer=Observer(service.meters))
    answer_errors(app)
    admin = Gate(service.keys, service.limits).router("admin")
    add_generations(admin, service)
    app.include_router(admin)
    return app
