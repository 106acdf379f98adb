"""Bounds of a request's values: from `settings.limits` to checks of a body, and to OpenAPI.

The limits reach the models as pydantic's validation context, so one set of models serves every
deployment.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from llmrec_ray.settings import LimitSettings

T = TypeVar("T")
MARK = "x-limit"
_JSON_BOUND = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}


@dataclass(frozen=True, slots=True)
class AtMost:
    """A text's or list's length, or a number, is at most the limit of that name."""

    name: str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {MARK: self.name}

    def _check(self, value: T, info: ValidationInfo) -> T:
        limit = cast(int, getattr(limits_of(info), self.name))
        if isinstance(value, int):
            if value > limit:
                raise PydanticCustomError("at_most", "at most {limit} is allowed", {"limit": limit})
        elif len(cast(str, value)) > limit:
            what = "characters" if isinstance(value, str) else "entries"
            raise PydanticCustomError(
                "too_long",
                "at most {limit} {what} are allowed, and these are {length}",
                {"limit": limit, "what": what, "length": len(cast(str, value))},
            )
        return value


def limits_of(info: ValidationInfo) -> LimitSettings:
    """The limits that a model is validated with; the defaults where none were given."""
    return info.context if isinstance(info.context, LimitSettings) else LimitSettings()


def no_control_characters(value: str) -> str:
    """Ids and field names are stored and logged: no NUL, no line breaks, nothing of that kind."""
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise PydanticCustomError("control_character", "control characters are not allowed")
    return value


def no_nul(value: str) -> str:
    """A database text cannot hold NUL."""
    if "\0" in value:
        raise PydanticCustomError("control_character", "the character NUL is not allowed")
    return value


def not_blank(value: str) -> str:
    """A text must say something."""
    if not value.strip():
        raise PydanticCustomError("blank", "must hold more than white space")
    return value


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
