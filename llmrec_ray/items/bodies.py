"""What bodies say of an item, over HTTP and in streams: its title, its fields, that it is gone."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llmrec_ray.bodies import Id, Message, Number, no_control_characters, no_nul, not_blank

Words = Annotated[str, AfterValidator(no_nul)]
Title = Annotated[str, Field(min_length=1), AfterValidator(not_blank), AfterValidator(no_nul)]
Name = Annotated[str, AfterValidator(no_control_characters)]
Values = Annotated[
    dict[Name, Words | Number | list[Words] | None],
    Field(
        description="By the names of the catalogue's fields: a text, a number, a list of tags or an"
        " image's address, as the field's kind asks; null where the item has none."
    ),
]


class StreamedItem(Message):
    """A whole item to put, or the id of one that is deleted."""

    item_id: Id
    title: Title | None = None
    fields: Values = Field({})
    deleted: bool = False

    @model_validator(mode="after")
    def _whole_or_deleted(self) -> Self:
        if self.deleted and (self.title is not None or self.fields):
            raise PydanticCustomError("item", "a deleted item has neither title nor fields")
        if not self.deleted and self.title is None:
            raise PydanticCustomError("item", "an item needs a title, or deleted: true")
        return self
