"""One item as a caller sends it in, a clean item of the catalogue's fields out.

Texts are repaired as those of catalogue files are. What a file's row would lose or have cut is
refused here, where the sender hears of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from llmrec_ray.catalog.description import CatalogLimits
from llmrec_ray.catalog.repair import clean_text
from llmrec_ray.errors import InvalidInput
from llmrec_ray.types import FieldKind, FieldValue, Item

Given = str | float | Sequence[str] | None
"""A field's value as it is sent; None says that the item has none."""

LIMITS = CatalogLimits()


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """An item to put; with `expected` only where the stored one has that version."""

    item_id: str
    title: str
    fields: Mapping[str, Given]
    expected: int | None = None


def clean_item(draft: ItemDraft, kinds: Mapping[str, FieldKind], index: int = 0) -> Item:
    """The item; `InvalidInput` names the field, as a path, and the item's place in its batch."""
    fields: dict[str, FieldValue] = {}
    for name, value in draft.fields.items():
        if name not in kinds:
            known = ", ".join(sorted(kinds)) or "none"
            raise _unusable(
                f"fields/{name}", index, f"is no field of the catalogue; it has: {known}"
            )
        if value is None:
            continue
        clean = _clean(value, kinds[name], f"fields/{name}", index)
        if clean not in {"", ()}:
            fields[name] = clean
    title = _text(draft.title, LIMITS.title_chars, "title", index)
    if not title:
        raise _unusable("title", index, "says nothing; an item needs a title")
    return Item(draft.item_id, title, fields)


def _clean(
    value: str | float | Sequence[str], kind: FieldKind, path: str, index: int
) -> FieldValue:
    match kind:
        case "text" if isinstance(value, str):
            return _text(value, LIMITS.text_chars, path, index)
        case "image" if isinstance(value, str):
            return _image(value, path, index)
        case "number" if isinstance(value, float | int):
            if not isfinite(value):
                raise _unusable(path, index, "must be a finite number")
            return float(value)
        case "tags" if not isinstance(value, str | float | int):
            return _tags(value, path, index)
        case _:
            needs = {"text": "a text", "image": "an address", "number": "a number"}
            raise _unusable(path, index, f"must be {needs.get(kind, 'a list of texts')}")


def _text(raw: str, limit: int, path: str, index: int) -> str:
    if len(raw) > limit:
        raise _unusable(path, index, f"has {len(raw)} characters, and at most {limit} are allowed")
    return clean_text(raw, limit)[0]


def _image(raw: str, path: str, index: int) -> str:
    address = raw.strip()
    if any(character <= " " or character == "\x7f" for character in address):
        raise _unusable(path, index, "must be an address without white space")
    if len(address) > LIMITS.image_chars:
        raise _unusable(path, index, f"is an address of over {LIMITS.image_chars} characters")
    return address


def _tags(raw: Sequence[str], path: str, index: int) -> tuple[str, ...]:
    tags = [_text(tag, LIMITS.tag_chars, path, index) for tag in raw]
    different = tuple(dict.fromkeys(tag for tag in tags if tag))
    if len(different) > LIMITS.tags:
        raise _unusable(path, index, f"has {len(different)} tags, and at most {LIMITS.tags} may be")
    return different


def _unusable(path: str, index: int, rule: str) -> InvalidInput:
    return InvalidInput(f"{path} {rule}.", field=path, index=index)
