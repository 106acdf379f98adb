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
_HELD: Mapping[FieldKind, type | tuple[type, ...]] = {
    "text": str,
    "image": str,
    "number": (float, int),
    "tags": tuple,
}


@dataclass(frozen=True, slots=True)
class ItemDraft:
    """An item to put; with `expected` only where the stored one has that version.

    A title of None, and fields that are not named, are those of `base`: the item as it is stored.
    """

    item_id: str
    title: str | None
    fields: Mapping[str, Given]
    expected: int | None = None
    base: Item | None = None


def clean_item(draft: ItemDraft, kinds: Mapping[str, FieldKind], index: int = 0) -> Item:
    """The item; `InvalidInput` names the field, as a path, and the item's place in its batch.

    What is kept of `base` is not checked: a file's row may have had other limits. Of it goes what
    is no field of `kinds`, or of another kind.
    """
    fields = _kept(draft, kinds)
    for name, value in draft.fields.items():
        if value is None:
            continue
        if name not in kinds:
            known = ", ".join(sorted(kinds)) or "none"
            raise _unusable(
                f"fields/{name}", index, f"is no field of the catalogue; it has: {known}"
            )
        clean = _clean(value, kinds[name], f"fields/{name}", index)
        if clean not in {"", ()}:
            fields[name] = clean
    return Item(draft.item_id, _title(draft, index), fields)


def _kept(draft: ItemDraft, kinds: Mapping[str, FieldKind]) -> dict[str, FieldValue]:
    if draft.base is None:
        return {}
    return {
        name: value
        for name, value in draft.base.fields.items()
        if name not in draft.fields and name in kinds and isinstance(value, _HELD[kinds[name]])
    }


def _title(draft: ItemDraft, index: int) -> str:
    if draft.title is None and draft.base is not None:
        return draft.base.title
    title = _text(draft.title or "", LIMITS.title_chars, "title", index)
    if not title:
        raise _unusable("title", index, "says nothing; an item needs a title")
    return title


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
