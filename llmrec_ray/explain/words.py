"""Small English: field names and numbers in, words that fit into a sentence out."""

import re
import unicodedata

COLLECTIVE = frozenset(
    {
        *("audience", "band", "cast", "choir", "class", "club", "collection", "committee", "crew"),
        *(
            "crowd",
            "ensemble",
            "faculty",
            "family",
            "group",
            "line-up",
            "lineup",
            "orchestra",
            "panel",
        ),
        *("range", "selection", "set", "squad", "staff", "team"),
    }
)
"""Singular names of many: a value is one *in* the cast, it is not the cast."""

_SAME_IN_PLURAL = frozenset({"series", "species", "news", "media", "people", "staff"})
_IE_WORDS = frozenset({"movies", "cookies", "calories", "genies", "zombies", "ties", "pies"})
_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_UNSEEN = frozenset({"Cc", "Cs", "Co", "Cn"})
_BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def one_line(text: str, limit: int) -> str:
    """The text on one line, without control characters, at most `limit` long, cut between words."""
    kept = "".join(
        " " if unicodedata.category(char) in _UNSEEN or char.isspace() else char
        for char in _BIDI.sub("", unicodedata.normalize("NFC", text))
    )
    line = " ".join(kept.split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > limit // 2 else cut).rstrip(" ,;:-–") + "…"


def field_words(name: str) -> str:
    """`releaseYear`, `user_tags` → "release year", "user tags"."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[^\w]+|_+", " ", apart).split()).lower()


def is_plural(name: str) -> bool:
    """Whether the name means several things: "genres", but not "class" or "series"."""
    last = name.rsplit(" ", 1)[-1]
    return (
        last.endswith("s") and not last.endswith(("ss", "us", "is")) and last not in _SAME_IN_PLURAL
    )


def singular(name: str) -> str:
    """ "genres" → "genre", "countries" → "country"; a name that is not plural stays."""
    if not is_plural(name):
        return name
    head, _, last = name.rpartition(" ")
    if last.endswith("ies") and last not in _IE_WORDS and len(last) > 4:
        last = last[:-3] + "y"
    elif re.search(r"(ch|sh|x|ss|zz)es$", last):
        last = last[:-2]
    else:
        last = last[:-1]
    return f"{head} {last}".strip()


def plural(name: str) -> str:
    """ "director" → "directors", "country" → "countries"; a name that is plural stays."""
    if is_plural(name) or name.rsplit(" ", 1)[-1] in _SAME_IN_PLURAL or not name.isascii():
        return name
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + ("es" if re.search(r"(s|x|z|ch|sh)$", name) else "s")


def listed(values: tuple[str, ...]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + " and " + values[-1]


def grade(value: float, top: float) -> str:
    """A rating in words: "five stars", "4.5 stars", or "8 out of 10" where the top is not five."""
    if top != 5:
        return f"{value:g} out of {top:g}"
    number = _SMALL[int(value)] if value == int(value) and 0 <= value <= 10 else f"{value:g}"
    return f"{number} {'star' if value == 1 else 'stars'}"
