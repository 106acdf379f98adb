"""Filters as JSON in, the library's filters out."""

import math
from typing import Annotated, Self, cast

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llmrec_ray.types import AllOf, AnyOf, Filter, Not, Range
from serve.http.fields import Id, Message, Number
from serve.http.limits import AtMost, limits_of

DEEPEST_FILTER = 16


def _scalar(value: object) -> str | float:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise PydanticCustomError("scalar", "must be a text or a finite number")


Scalar = Annotated[str | float, PlainValidator(_scalar, json_schema_input_type=str | float)]


class Bounds(Message):
    """The ends of a range; at least one."""

    gte: Number | None = None
    gt: Number | None = None
    lte: Number | None = None
    lt: Number | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if all(bound is None for bound in (self.gte, self.gt, self.lte, self.lt)):
            raise PydanticCustomError("range", "needs at least one of gte, gt, lte and lt")
        return self


class FieldFilter(Message):
    """One field compared: exactly one of `equals`, `any_of` and `range`."""

    field: Id
    equals: Scalar | None = None
    any_of: Annotated[list[Scalar], Field(min_length=1), AtMost("ids")] | None = None
    range: Bounds | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(part is not None for part in (self.equals, self.any_of, self.range)) != 1:
            raise PydanticCustomError("filter", "needs exactly one of equals, any_of and range")
        return self

    def to_filter(self) -> Filter:
        if self.range is not None:
            return Range(self.field, self.range.gte, self.range.gt, self.range.lte, self.range.lt)
        if self.any_of is not None:
            return AnyOf(self.field, tuple(self.any_of))
        return AnyOf(self.field, (cast(str | float, self.equals),))


class NotFilter(Message):
    """The inner filter does not hold."""

    inner: "FilterMessage" = Field(alias="not")

    def to_filter(self) -> Filter:
        return Not(self.inner.to_filter())


class AllFilter(Message):
    """Every inner filter holds."""

    inner: Annotated[list["FilterMessage"], Field(min_length=1), AtMost("filter_terms")] = Field(
        alias="all"
    )

    def to_filter(self) -> Filter:
        return AllOf(tuple(part.to_filter() for part in self.inner))


def _filter_kind(value: object) -> str:
    names = cast(dict[str, object], value) if isinstance(value, dict) else {}
    return "<not>" if "not" in names else "<all>" if "all" in names else "<field>"


FilterMessage = Annotated[
    Annotated[FieldFilter, Tag("<field>")]
    | Annotated[NotFilter, Tag("<not>")]
    | Annotated[AllFilter, Tag("<all>")],
    Discriminator(_filter_kind),
]


def _bounded(found: FieldFilter | NotFilter | AllFilter, info: ValidationInfo) -> object:
    terms, depth = _size(found)
    if terms > (most := limits_of(info).filter_terms):
        raise PydanticCustomError(
            "filter",
            "has {terms} parts; at most {most} are allowed",
            {"terms": terms, "most": most},
        )
    if depth > DEEPEST_FILTER:
        raise PydanticCustomError(
            "filter", "is nested more than {most} deep", {"most": DEEPEST_FILTER}
        )
    return found


def _size(found: FieldFilter | NotFilter | AllFilter) -> tuple[int, int]:
    """How many parts a filter has, and how deep it is nested."""
    match found:
        case NotFilter(inner=inner):
            terms, depth = _size(inner)
            return terms + 1, depth + 1
        case AllFilter(inner=parts):
            sizes = [_size(part) for part in parts]
            return 1 + sum(terms for terms, _ in sizes), 1 + max(depth for _, depth in sizes)
        case _:
            return 1, 1


TopFilter = Annotated[FilterMessage, AfterValidator(_bounded)]
