"""The routes of events: what users did in, what became of it out; and what is to be forgotten."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from llmrec_ray.online.intake import Learned
from llmrec_ray.timing import running
from serve.http import answers, messages, receipts
from serve.http.answers import ErrorAt
from serve.http.bodies import path_id, reader, takes
from serve.http.problems import Problem, documented
from serve.http.replies import done, reply
from serve.http.service import Service
from serve.observe.meters import Meters
from serve.observe.metrics import EVENTS, FRESHNESS


def add_events(app: APIRouter, service: Service) -> None:
    """Take events, forget one, forget a user."""
    posted = reader(messages.EventsRequest, service.limits)

    @app.post(
        "/v1/events",
        summary="Tell what users did; stored durably before the answer",
        openapi_extra=takes(messages.EventsRequest),
        responses=done(answers.EventsAnswer)
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
        return reply(answers.events_answer(learned))

    @app.delete(
        "/v1/users/{user_id}",
        summary="Forget everything stored about a user",
        responses=done(receipts.ErasureAnswer)
        | documented("invalid_input", "event_store_unavailable", "store_unavailable"),
    )
    async def forget(
        user_id: Annotated[str, Depends(path_id("user_id", service.limits))],
    ) -> Response:
        receipt = await service.recommender.forget(user_id)
        return reply(receipts.ErasureAnswer(user_id=user_id, **receipts.receipt_fields(receipt)))

    @app.delete(
        "/v1/events/{event_id}",
        summary="Forget one event, and the recommendations that may have been computed from it",
        responses=done(receipts.EventErasureAnswer)
        | documented("invalid_input", "not_found")
        | documented("event_store_unavailable", "store_unavailable"),
    )
    async def forget_event(
        event_id: Annotated[str, Depends(path_id("event_id", service.limits))],
    ) -> Response:
        receipt = await service.recommender.forget_event(event_id)
        told = receipts.receipt_fields(receipt)
        return reply(receipts.EventErasureAnswer(event_id=event_id, **told))


def _count(meters: Meters, learned: Learned) -> None:
    meters.add(EVENTS, learned.accepted, outcome="accepted")
    meters.add(EVENTS, learned.duplicates, outcome="duplicate")
    meters.add(EVENTS, len(learned.rejected), outcome="rejected")


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
