"""The HTTP interface: requests in, the `Recommender`'s answers or problems out."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from starlette.responses import Response

from llmrec_ray.api_keys import Keyring
from llmrec_ray.intake import Learned
from llmrec_ray.live import LiveItems
from llmrec_ray.recommender import Recommender
from llmrec_ray.settings import LimitSettings
from llmrec_ray.timing import running
from llmrec_ray.types import Metric, Recommendations, Scope
from serve.http import answers, messages, receipts
from serve.http.access import Gate
from serve.http.answers import ErrorAt
from serve.http.bodies import path_id, reader, takes
from serve.http.crowd import Crowd
from serve.http.docs_page import DOCS_PAGE
from serve.http.explaining import elapsed_ms, explain, told
from serve.http.items import ItemRoutes
from serve.http.middleware import Frame
from serve.http.openapi import describe
from serve.http.problems import Problem, documented
from serve.http.refusals import answer_errors
from serve.http.streams import EventStream, wanted
from serve.observe.meters import LocalMeters, Meters
from serve.observe.metrics import EVENTS, FRESHNESS
from serve.observe.requests import Observer, note
from serve.watch import Component

SEARCHING = ("not_ready", "overloaded", "rate_limited")


class View(Protocol):
    """What an ingress replica knows of the service (`serve.watch.Watch`)."""

    def serving(self) -> str | None: ...

    def components(self) -> Sequence[Component]: ...


class Generations(Protocol):
    """The published generations (`serve.generations.StoredGenerations`)."""

    async def listed(self, serving: str | None) -> answers.GenerationsAnswer: ...

    async def activate(self, generation: str) -> answers.ActivationAnswer: ...


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that the routes use."""

    recommender: Recommender
    view: View
    generations: Generations
    limits: LimitSettings
    keys: Keyring = field(default_factory=Keyring)
    meters: Meters = field(default_factory=LocalMeters)
    items: LiveItems = field(kw_only=True)


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
    _recommendations(read, service)
    _items(read, service)
    items = ItemRoutes(
        service.recommender, service.items, service.limits, service.meters, service.view.serving
    )
    items.add_reads(read)
    items.add_writes(write)
    _search(read, service)
    _events(write, service)
    _generations(admin, service)
    for router in (read, write) if admin_apart else (read, write, admin):
        app.include_router(router)
    _health(app, service)
    describe(app, service.limits)
    return app


def create_admin_app(service: Service) -> FastAPI:
    """The admin routes alone, for a port of their own; the same keys open them."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Crowd, most=service.limits.in_flight)
    app.add_middleware(Frame, observer=Observer(service.meters))
    answer_errors(app)
    admin = Gate(service.keys, service.limits).router("admin")
    _generations(admin, service)
    app.include_router(admin)
    return app


# ── routes ───────────────────────────────────────────────────────────────────────────────────────


def _recommendations(app: APIRouter, service: Service) -> None:
    recommender, most = service.recommender, service.limits.explained
    asked_for = reader(messages.RecommendationsRequest, service.limits)

    @app.post(
        "/v1/recommendations",
        summary="Recommend items for a user, a session, a text or several of them",
        openapi_extra=takes(messages.RecommendationsRequest),
        responses=_ok(answers.RecommendationsAnswer, streamed=True)
        | documented(
            "invalid_input", "body_timeout", "invalid_filter", "embedder_unavailable", *SEARCHING
        ),
    )
    async def recommendations(
        asked: Annotated[messages.RecommendationsRequest, Depends(asked_for)], request: Request
    ) -> Response:
        since = time.perf_counter()
        found = await recommender.recommend(asked.to_request())
        note(generation=found.generation, degraded=found.degraded)
        shown = answers.recommendations_answer(
            found, evidence=asked.evidence, took_ms=elapsed_ms(since)
        )
        if wanted(request.headers.get("accept", "")):
            return EventStream(
                told(recommender, found, shown, asked.explain, most=most, since=since)
            )
        await explain(recommender, found, shown, asked.explain, most=most)
        note(generation=found.generation, degraded=shown.degraded)
        shown.took_ms = elapsed_ms(since)
        return _json(shown)

    @app.post(
        "/v1/recommendations/{recommendation_id}:replay",
        summary="Compute a stored recommendation again, and compare",
        responses=_ok(answers.ReplayAnswer)
        | documented("invalid_input", "not_found", "generation_not_found", "erased")
        | documented("not_replayable", "event_store_unavailable", "store_unavailable", *SEARCHING),
    )
    async def replay(
        recommendation_id: Annotated[str, Depends(path_id("recommendation_id", service.limits))],
    ) -> Response:
        since = time.perf_counter()
        replayed = await recommender.replay(recommendation_id)
        note(generation=replayed.again.generation, degraded=replayed.again.degraded)
        return _json(answers.replay_answer(replayed, took_ms=elapsed_ms(since)))


def _items(app: APIRouter, service: Service) -> None:
    limits = service.limits
    in_path = path_id("item_id", limits)

    @app.get(
        "/v1/items/{item_id}/similar",
        summary="Items whose texts are nearest to an item's",
        responses=_ok(answers.RecommendationsAnswer)
        | documented("item_not_found", "invalid_input", *SEARCHING),
    )
    async def similar(
        item_id: Annotated[str, Depends(in_path)],
        metric: Metric = "cosine",
        limit: Annotated[int, Query(ge=1, le=limits.limit)] = 10,
    ) -> Response:
        since = time.perf_counter()
        found = await service.recommender.similar(item_id, metric, Scope(limit))
        return _json(_plain(found, since))


def _search(app: APIRouter, service: Service) -> None:
    asked_for = reader(messages.SearchRequest, service.limits)

    @app.post(
        "/v1/search",
        summary="Search items by the meaning of a text",
        openapi_extra=takes(messages.SearchRequest),
        responses=_ok(answers.RecommendationsAnswer)
        | documented(
            "invalid_input", "body_timeout", "invalid_filter", "embedder_unavailable", *SEARCHING
        ),
    )
    async def search(
        asked: Annotated[messages.SearchRequest, Depends(asked_for)],
    ) -> Response:
        since = time.perf_counter()
        found = await service.recommender.search(asked.query, asked.metric, asked.to_scope())
        return _json(_plain(found, since))


def _events(app: APIRouter, service: Service) -> None:
    posted = reader(messages.EventsRequest, service.limits)

    @app.post(
        "/v1/events",
        summary="Tell what users did; stored durably before the answer",
        openapi_extra=takes(messages.EventsRequest),
        responses=_ok(answers.EventsAnswer)
        | documented("invalid_input", "body_timeout", "events_rejected", "event_conflict")
        | documented("event_store_unavailable"),
    )
    async def events(
        asked: Annotated[messages.EventsRequest, Depends(posted)],
    ) -> Response:
        learned = await service.recommender.learn(asked.to_events())
        _count(service.meters, learned)
        if learned.accepted and (stages := running()) is not None:
            service.meters.observe(FRESHNESS, stages.total)
        if learned.rejected and not learned.accepted + learned.duplicates:
            raise _all_rejected(learned, single=asked.single)
        return _json(answers.events_answer(learned))

    @app.delete(
        "/v1/users/{user_id}",
        summary="Forget everything stored about a user",
        responses=_ok(receipts.ErasureAnswer)
        | documented("invalid_input", "event_store_unavailable", "store_unavailable"),
    )
    async def forget(
        user_id: Annotated[str, Depends(path_id("user_id", service.limits))],
    ) -> Response:
        receipt = await service.recommender.forget(user_id)
        return _json(receipts.ErasureAnswer(user_id=user_id, **receipts.receipt_fields(receipt)))

    @app.delete(
        "/v1/events/{event_id}",
        summary="Forget one event, and the recommendations that may have been computed from it",
        responses=_ok(receipts.EventErasureAnswer)
        | documented("invalid_input", "not_found")
        | documented("event_store_unavailable", "store_unavailable"),
    )
    async def forget_event(
        event_id: Annotated[str, Depends(path_id("event_id", service.limits))],
    ) -> Response:
        receipt = await service.recommender.forget_event(event_id)
        told = receipts.receipt_fields(receipt)
        return _json(receipts.EventErasureAnswer(event_id=event_id, **told))


def _generations(app: APIRouter, service: Service) -> None:
    @app.get(
        "/v1/generations",
        summary="The published generations, and which one answers",
        responses=_ok(answers.GenerationsAnswer) | documented("store_unavailable"),
    )
    async def generations() -> Response:
        return _json(await service.generations.listed(service.view.serving()))

    @app.post(
        "/v1/generations/{generation}:activate",
        summary="Make a published generation current; an older one is a rollback",
        responses=_ok(answers.ActivationAnswer)
        | documented("generation_not_found", "encoder_mismatch")
        | documented("invalid_input", "store_unavailable"),
    )
    async def activate(
        generation: Annotated[str, Depends(path_id("generation", service.limits))],
    ) -> Response:
        return _json(await service.generations.activate(generation))


def _health(app: FastAPI, service: Service) -> None:
    @app.get("/livez", summary="Whether the process runs", responses=_ok(answers.AliveAnswer))
    async def livez() -> Response:
        return _json(answers.AliveAnswer(alive=True))

    @app.get(
        "/readyz",
        summary="Whether requests can be answered, and what each part has and waits for",
        responses=_ok(answers.ReadyAnswer)
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
        return _json(answer, 200 if answer.ready else 503)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(DOCS_PAGE)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


def _count(meters: Meters, learned: Learned) -> None:
    meters.add(EVENTS, learned.accepted, outcome="accepted")
    meters.add(EVENTS, learned.duplicates, outcome="duplicate")
    meters.add(EVENTS, len(learned.rejected), outcome="rejected")


def _plain(found: Recommendations, since: float) -> answers.RecommendationsAnswer:
    note(generation=found.generation, degraded=found.degraded)
    return answers.recommendations_answer(found, evidence=False, took_ms=elapsed_ms(since))


def _json(answer: BaseModel, status: int = 200) -> Response:
    body = answer.model_dump_json(exclude_none=True)
    return Response(body, status, media_type="application/json")


def _ok(model: type[BaseModel], *, streamed: bool = False) -> dict[int | str, dict[str, Any]]:
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


def _all_rejected(learned: Learned, *, single: bool) -> Problem:
    return Problem(
        "events_rejected",
        "No event was stored: each names what the catalogue does not have, or a time to come.",
        [
            ErrorAt(
                pointer=f"#/{one.field}" if single else f"#/events/{one.index}/{one.field}",
                detail=one.detail,
            )
            for one in learned.rejected
        ],
    )
