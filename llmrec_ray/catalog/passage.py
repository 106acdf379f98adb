"""A passage template and an item's values come in; the passage as text goes out.

A template is plain text with `{field}` in it. What an item lacks is left out gracefully:

- a sentence is left out when one of its fields is missing;
- a part in round or square brackets is left out alone when one of *its* fields is missing, and the
  sentence stays; square brackets only mark such a part and are never printed.

So `{title} ({year}). Directed by {director}[ in {country}].` gives "Heat. Directed by Michael
Mann." for a film without year and country, and "Heat (1995)." for one without director and country.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmrec_ray.types import FieldValue

_FIELD = re.compile(r"\{([^{}]*)\}")
_SENTENCE = re.compile(
    r"(?:\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}|[^.!?。！？\n])*(?:[.!?。！？\n]+\s*|$)"
)
_PART = re.compile(r"(\s*\([^()]*\)|\[[^\[\]]*\])")
_END = ".!?。！？…"


@dataclass(frozen=True, slots=True)
class _Part:
    """A run of the template that is printed or left out as one; `alone`: without its sentence."""

    text: str
    fields: tuple[str, ...]
    alone: bool


_Sentence = tuple[_Part, ...]


def placeholders(template: str) -> list[str]:
    """The field names that a template uses, in order."""
    return _FIELD.findall(template)


class Passage:
    """A compiled template."""

    def __init__(self, template: str) -> None:
        self.fields = tuple(dict.fromkeys(placeholders(template)))
        self._sentences = _compiled(template)

    def __call__(self, values: Sequence[FieldValue | None]) -> str:
        """The passage of one item; `values` go with `fields`, None where the item has none."""
        spoken = dict(zip(self.fields, map(_spoken, values), strict=True))
        said: list[str] = []
        for sentence in self._sentences:
            present = [part for part in sentence if all(spoken[name] for name in part.fields)]
            if all(part.alone or part in present for part in sentence):
                said += [_filled(part.text, spoken) for part in present]
        return "".join(said).strip()


def _compiled(template: str) -> tuple[_Sentence, ...]:
    return tuple(
        tuple(
            _Part(
                text=text[1:-1] if text.startswith("[") else text,
                fields=tuple(placeholders(text)),
                alone=_PART.fullmatch(text) is not None,
            )
            for text in _PART.split(sentence)
            if text
        )
        for sentence in _SENTENCE.findall(template)
        if sentence
    )


def _spoken(value: FieldValue | None) -> str | None:
    match value:
        case None | str():
            return value
        case float() | int():
            return str(int(value)) if float(value).is_integer() else str(value)
        case _:
            return ", ".join(value)


def _filled(text: str, values: Mapping[str, str | None]) -> str:
    """The text with its fields; a full stop that a value brings along is not printed twice."""
    filled = ""
    at = 0
    for match in _FIELD.finditer(text):
        filled += text[at : match.start()] + (values[match.group(1)] or "")
        at = match.end()
        if filled.endswith(tuple(_END)) and text[at : at + 1] in {".", "。"}:
            at += 1
    return filled + text[at:]
