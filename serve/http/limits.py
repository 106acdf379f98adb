"""Bounds of a request's values: from `settings.limits` to OpenAPI; `bodies` checks them."""

from collections.abc import Mapping
from typing import Any, cast

from llmrec_ray.bodies import (
    MARK,
    AtMost,
    limits_of,
    no_control_characters,
    no_nul,
    not_blank,
)
from llmrec_ray.settings import LimitSettings

__all__ = [
    "AtMost",
    "limits_of",
    "no_control_characters",
    "no_nul",
    "not_blank",
    "show_limits",
]

_JSON_BOUND = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}


def show_limits(schema: Any, limits: LimitSettings) -> Any:
    """A JSON schema with every marked limit as `maxLength`, `maxItems` or `maximum`."""
    if isinstance(schema, list):
        return [show_limits(part, limits) for part in cast(list[Any], schema)]
    if not isinstance(schema, Mapping):
        return schema
    shown = {key: show_limits(part, limits) for key, part in cast(dict[str, Any], schema).items()}
    if name := shown.pop(MARK, None):
        shown[_JSON_BOUND[shown["type"]]] = getattr(limits, name)
    return shown
