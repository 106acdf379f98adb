"""The bodies that change items, checked on the way in, and what they ask of the library."""

from typing import Annotated

from pydantic import Field

from llmrec_ray.catalog.live import Given, ItemDraft
from llmrec_ray.items.bodies import Title, Values
from serve.http.fields import Id, Message
from serve.http.limits import AtMost


class ItemMessage(Message):
    """A whole item: fields that are not named, it does not have."""

    title: Title
    fields: Values = Field({})

    def to_draft(self, item_id: str, expected: int | None) -> ItemDraft:
        return ItemDraft(item_id, self.title, self.fields, expected)


class ItemPatch(Message):
    """What changes of an item: a field of null is taken away, what is not named stays."""

    title: Title | None = None
    fields: Values = Field({})

    @property
    def given(self) -> dict[str, Given]:
        return dict(self.fields)


class NamedItem(ItemMessage):
    """An item of a batch; with `version`, it is stored only where it has that version."""

    item_id: Id
    version: Annotated[int, Field(ge=0)] | None = None


class ItemsRequest(Message):
    """Several items, stored together or not at all."""

    items: Annotated[list[NamedItem], Field(min_length=1), AtMost("items")]

    def to_drafts(self) -> list[ItemDraft]:
        return [item.to_draft(item.item_id, item.version) for item in self.items]
