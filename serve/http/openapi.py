"""The application's routes in, its OpenAPI document out, with the limits of its settings."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from llmrec_ray.settings import LimitSettings
from serve.http import answers, item_messages, messages
from serve.http.limits import show_limits

REF = "#/components/schemas/{model}"


def describe(app: FastAPI, limits: LimitSettings) -> None:
    """Give the application its document; bodies are read by hand, so their schemas are added."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            _, schemas = models_json_schema(
                [
                    (messages.RecommendationsRequest, "validation"),
                    (messages.SearchRequest, "validation"),
                    (messages.EventsRequest, "validation"),
                    (item_messages.ItemMessage, "validation"),
                    (item_messages.ItemPatch, "validation"),
                    (item_messages.ItemsRequest, "validation"),
                    (answers.ProblemAnswer, "serialization"),
                ],
                ref_template=REF,
            )
            known = made.setdefault("components", {}).setdefault("schemas", {})
            known |= show_limits(schemas["$defs"], limits)
            made["components"]["schemas"] = dict(sorted(known.items()))
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document
