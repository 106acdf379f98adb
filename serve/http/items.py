"""The routes of items: looks and changes in, items with their versions and what became of them out.

An item that was put has the ETag of its version, `"v3"`; one that is as it was published that of
the generation.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel
from starlette.responses import Response

from llmrec_ray.errors import (
    EventStoreUnavailable,
    InvalidInput,
    ItemNotFound,
    VersionConflict,
)
from llmrec_ray.items.log import Written
from serve.http import answers
from serve.http.answers import ErrorAt
from serve.http.bodies import path_id, reader, takes
from serve.http.item_messages import ItemMessage, ItemPatch, ItemsRequest
from serve.http.problems import documented, invalid
from serve.http.replies import SEARCHING, done, reply
from serve.http.service import Service
from serve.observe.metrics import ITEMS
from serve.observe.requests import note

CHANGING = (
    "invalid_input",
    "event_store_unavailable",
    "not_ready",
    "search_unavailable",
    "version_conflict",
)
EMBEDDING = ("embedder_unavailable", "encoder_mismatch", "conflict", "body_timeout")
IfMatch = Annotated[
    str | None,
    Header(
        description='The ETag that the item must have, such as `"v3"`, or `*`: that it is there;'
        " else 412."
    ),
]


class WrittenAnswer(BaseModel):
    """What became of a change; answers with this `delta_seq` or a larger one are made with it."""

    item_id: str
    version: int
    outcome: Literal["stored", "deleted", "unchanged"]
    delta_seq: int


class ItemsWrittenAnswer(BaseModel):
    """What became of a batch, in its order; `delta_seq` is that of the last change."""

    items: list[WrittenAnswer]
    delta_seq: int


class ItemRoutes:
    """The routes, and what they share."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._items = service.items

    def add_reads(self, app: APIRouter) -> None:
        in_path = path_id("item_id", self._service.limits)

        @app.get(
            "/v1/items/{item_id}",
            summary="Look at one item, as it was last put or published",
            responses=done(answers.ItemAnswer)
            | documented("item_not_found", "invalid_input", *SEARCHING),
        )
        async def look(item_id: Annotated[str, Depends(in_path)]) -> Response:
            known = True
            try:
                change = await self._items.look(item_id)
            except EventStoreUnavailable:  # the shards know it too, if not its version
                change, known = None, False
            if change is not None and change.item is not None:
                generation, item = self._service.view.serving() or "", change.item
                tag = f"v{change.version}"
            else:
                generation, item = await self._service.recommender.item(item_id)
                tag = generation
            note(generation=generation, degraded=())
            return reply(answers.item_answer(generation, item), tag=tag if known else None)

    def add_writes(self, app: APIRouter) -> None:
        """Upserts, partial updates and deletions."""
        self._add_puts(app)
        in_path = path_id("item_id", self._service.limits)
        patched = reader(ItemPatch, self._service.limits)

        @app.patch(
            "/v1/items/{item_id}",
            summary="Change some of an item; durable before the answer",
            openapi_extra=takes(ItemPatch),
            responses=done(WrittenAnswer) | documented(*CHANGING, *EMBEDDING, "item_not_found"),
        )
        async def patch(
            item_id: Annotated[str, Depends(in_path)],
            asked: Annotated[ItemPatch, Depends(patched)],
            if_match: IfMatch = None,
        ) -> Response:
            expected = await self._expected(item_id, if_match)
            try:
                written = await self._items.patch(
                    item_id, title=asked.title, fields=asked.given, expected=expected
                )
            except InvalidInput as error:
                raise _pointed(error, batch=False) from error
            return self._one(written)

        @app.delete(
            "/v1/items/{item_id}",
            summary="Take an item out of every answer; durable before the answer",
            responses=done(WrittenAnswer) | documented(*CHANGING, "item_not_found"),
        )
        async def delete(
            item_id: Annotated[str, Depends(in_path)], if_match: IfMatch = None
        ) -> Response:
            expected = await self._expected(item_id, if_match)
            return self._one(await self._items.delete(item_id, expected))

    def _add_puts(self, app: APIRouter) -> None:
        in_path = path_id("item_id", self._service.limits)
        put_one, put_all = (
            reader(ItemMessage, self._service.limits),
            reader(ItemsRequest, self._service.limits),
        )

        @app.put(
            "/v1/items/{item_id}",
            summary="Put an item, new or changed; durable before the answer",
            openapi_extra=takes(ItemMessage),
            responses=done(WrittenAnswer) | documented(*CHANGING, *EMBEDDING),
        )
        async def put(
            item_id: Annotated[str, Depends(in_path)],
            asked: Annotated[ItemMessage, Depends(put_one)],
            if_match: IfMatch = None,
        ) -> Response:
            draft = asked.to_draft(item_id, await self._expected(item_id, if_match))
            try:
                written = await self._items.put([draft])
            except InvalidInput as error:
                raise _pointed(error, batch=False) from error
            return self._one(written[0])

        @app.put(
            "/v1/items",
            summary="Put several items, all or none; durable before the answer",
            openapi_extra=takes(ItemsRequest),
            responses=done(ItemsWrittenAnswer) | documented(*CHANGING, *EMBEDDING),
        )
        async def put_batch(asked: Annotated[ItemsRequest, Depends(put_all)]) -> Response:
            try:
                written = await self._items.put(asked.to_drafts())
            except InvalidInput as error:
                raise _pointed(error, batch=True) from error
            self._count(written)
            told = [_written(one) for one in written]
            last = max(one.delta_seq for one in told)
            return reply(ItemsWrittenAnswer(items=told, delta_seq=last))

    def _one(self, written: Written) -> Response:
        self._count([written])
        return reply(_written(written), tag=f"v{written.version}")

    def _count(self, written: Sequence[Written]) -> None:
        for one in written:
            self._service.meters.add(ITEMS, 1, outcome=one.outcome)

    async def _expected(self, item_id: str, if_match: str | None) -> int | None:
        """The version that an ETag stands for; with `*` that of now, so that nobody comes first."""
        if if_match is None:
            return None
        tag = if_match.strip()
        if version := re.fullmatch(r'"v([1-9]\d{0,17})"', tag):
            return int(version.group(1))
        if tag != "*" and not re.fullmatch(r'"g-[\w-]{1,62}"', tag):
            detail = 'must be one ETag as an answer gave it, such as "v3", or *'
            raise invalid([ErrorAt(parameter="If-Match", detail=detail)])
        if tag not in {"*", f'"{self._service.view.serving()}"'}:
            raise VersionConflict(
                "the item was looked at in another generation than the one that answers now, and"
                " nothing was stored. Read it again, and send the change anew."
            )
        try:
            version_now = await self._items.version(item_id)
        except ItemNotFound as error:
            raise VersionConflict(
                f"there is no item {item_id!r} that If-Match could be meant for, and nothing was"
                " stored. Leave the header out to put a new item.",
                item_id=item_id,
            ) from error
        return version_now if tag == "*" else 0


def _written(one: Written) -> WrittenAnswer:
    return WrittenAnswer(
        item_id=one.item_id, version=one.version, outcome=one.outcome, delta_seq=one.seq
    )


def _pointed(error: InvalidInput, *, batch: bool) -> Exception:
    """The problem with a JSON pointer to the field, where the library names one."""
    field, index = error.details.get("field"), error.details.get("index", 0)
    if not isinstance(field, str):
        return error
    at = f"#/items/{index}/{field}" if batch else f"#/{field}"
    return invalid([ErrorAt(pointer=at, detail=str(error).removesuffix("."))])
