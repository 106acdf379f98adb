"""The routes of questions: users, items and texts in, ranked items out."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from llmrec_ray.types import Metric, Recommendations, Scope
from serve.http import answers, messages
from serve.http.bodies import path_id, reader, takes
from serve.http.explaining import elapsed_ms, explain, told
from serve.http.problems import documented
from serve.http.replies import SEARCHING, done, reply
from serve.http.service import Service
from serve.http.streams import EventStream, wanted
from serve.observe.requests import note


def add_recommendations(app: APIRouter, service: Service) -> None:
    """Recommend, as one answer or a stream, and replay."""
    recommender, most = service.recommender, service.limits.explained
    asked_for = reader(messages.RecommendationsRequest, service.limits)

    @app.post(
        "/v1/recommendations",
        summary="Recommend items for a user, a session, a text or several of them",
        openapi_extra=takes(messages.RecommendationsRequest),
        responses=done(answers.RecommendationsAnswer, streamed=True)
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
        return reply(shown)

    @app.post(
        "/v1/recommendations/{recommendation_id}:replay",
        summary="Compute a stored recommendation again, and compare",
        responses=done(answers.ReplayAnswer)
        | documented("invalid_input", "not_found", "generation_not_found", "erased")
        | documented("not_replayable", "event_store_unavailable", "store_unavailable", *SEARCHING),
    )
    async def replay(
        recommendation_id: Annotated[str, Depends(path_id("recommendation_id", service.limits))],
    ) -> Response:
        since = time.perf_counter()
        replayed = await recommender.replay(recommendation_id)
        note(generation=replayed.again.generation, degraded=replayed.again.degraded)
        return reply(answers.replay_answer(replayed, took_ms=elapsed_ms(since)))


def add_similar(app: APIRouter, service: Service) -> None:
    """Items like an item."""
    limits = service.limits
    in_path = path_id("item_id", limits)

    @app.get(
        "/v1/items/{item_id}/similar",
        summary="Items whose texts are nearest to an item's",
        responses=done(answers.RecommendationsAnswer)
        | documented("item_not_found", "invalid_input", *SEARCHING),
    )
    async def similar(
        item_id: Annotated[str, Depends(in_path)],
        metric: Metric = "cosine",
        limit: Annotated[int, Query(ge=1, le=limits.limit)] = 10,
    ) -> Response:
        since = time.perf_counter()
        found = await service.recommender.similar(item_id, metric, Scope(limit))
        return reply(_plain(found, since))


def add_search(app: APIRouter, service: Service) -> None:
    """Items like a text."""
    asked_for = reader(messages.SearchRequest, service.limits)

    @app.post(
        "/v1/search",
        summary="Search items by the meaning of a text",
        openapi_extra=takes(messages.SearchRequest),
        responses=done(answers.RecommendationsAnswer)
        | documented(
            "invalid_input", "body_timeout", "invalid_filter", "embedder_unavailable", *SEARCHING
        ),
    )
    async def search(
        asked: Annotated[messages.SearchRequest, Depends(asked_for)],
    ) -> Response:
        since = time.perf_counter()
        found = await service.recommender.search(asked.query, asked.metric, asked.to_scope())
        return reply(_plain(found, since))


def _plain(found: Recommendations, since: float) -> answers.RecommendationsAnswer:
    note(generation=found.generation, degraded=found.degraded)
    return answers.recommendations_answer(found, evidence=False, took_ms=elapsed_ms(since))
