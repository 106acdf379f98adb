"""A raw text comes in; the text as a person would have typed it, and the repairs, go out."""

import html
import re
import unicodedata
from collections.abc import Callable
from functools import cache

_BLOCK = (
    "address|article|aside|blockquote|body|br|button|caption|center|col|colgroup|dd|details|div|dl|dt|embed|"
    "fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|input|label|legend|li|link|"
    "main|meta|nav|noscript|object|ol|option|p|param|picture|pre|script|section|select|source|style|summary|"
    "svg|table|tbody|td|textarea|tfoot|th|thead|tr|ul|video|audio"
)
_INLINE = (
    "a|abbr|acronym|b|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|strong|sub|sup|"
    "tt|u|var|wbr"
)
# Only names of HTML elements count as markup: "Vec<String>" and "I <3 you" stay as they are.
# Each pattern is linear: what is not closed runs to the end, as in a browser.
_HIDDEN = re.compile(
    r"<!--(?:(?!-->).)*(?:-->)?|<(script|style)\b[^<>]*>(?:(?!</\1).)*", re.IGNORECASE | re.DOTALL
)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:\s[^<>]*|/)?>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*|/)?>", re.IGNORECASE)
_AMPERSANDS = re.compile(r"&(?:(?:amp|#38|#x26);)+", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,31});", re.IGNORECASE)
# Terminal colours; C0 and C1 without whitespace; invisible marks (not the joiners U+200C, U+200D,
# which Persian, Indic scripts and emoji need); lone surrogates; non-characters.
_CONTROL = re.compile(
    "\x1b\\[[0-9;]*m|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069"
    "\ufeff\ud800-\udfff\ufffe\uffff]"
)
_SLACK = 8  # markup and entities may make a raw text longer than its limit, up to this factor

SUSPECT = r"[^ -~]|[<&]|^ | $|  "
"""RE2: a text that does not match this (and is not too long) is clean already."""


def clean_text(raw: str, limit: int) -> tuple[str, tuple[str, ...]]:
    """The text of at most `limit` characters, and the repairs; a second pass changes nothing."""
    text = raw[: limit * _SLACK]
    repairs: dict[str, None] = {}
    while True:
        before = text
        for name, repair in _REPAIRS.items():
            repaired = repair(text)
            if repaired != text:
                repairs[name] = None
                text = repaired
        if len(text) > limit:
            text = _cut(text, limit)
            repairs[f"cut to {limit} characters"] = None
        if text == before:
            return text, tuple(repairs)


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters, without a torn last word where words are short."""
    head = text[:limit]
    space = head.rfind(" ", limit - limit // 10)
    return head[:space].rstrip() if space > 0 and text[limit] != " " else head.rstrip()


def _encoding(text: str) -> str:
    return text if text.isascii() else _mojibake_repair()(text)


@cache
def _mojibake_repair() -> Callable[[str], str]:
    """ftfy, told to repair encodings alone: quotes, ligatures, full-width forms are no mistakes."""
    import ftfy
    from ftfy.badness import is_bad

    config = ftfy.TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )
    # ftfy's own test comes first: it is ten times as fast as finding that there is nothing to do.
    return lambda text: ftfy.fix_text(text, config) if is_bad(text) else text


def _without_markup(text: str) -> str:
    if "<" not in text:
        return text
    return _INLINE_TAG.sub("", _BLOCK_TAG.sub(" ", _HIDDEN.sub(" ", text)))


def _without_entities(text: str) -> str:
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda found: html.unescape(found.group()), _AMPERSANDS.sub("&", text))


def _without_control(text: str) -> str:
    return _CONTROL.sub("", text)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _tidy(text: str) -> str:
    return " ".join(text.split())


_REPAIRS: dict[str, Callable[[str], str]] = {
    "wrong encoding repaired": _encoding,
    "HTML removed": _without_markup,
    "entities unescaped": _without_entities,
    "control characters removed": _without_control,
    "accents composed": _composed,
    "whitespace tidied": _tidy,
}
