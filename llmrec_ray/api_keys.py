"""A list of hashed API keys in, a ring out that knows whose a presented key is; new keys.

A key is 32 random bytes behind a fixed prefix. Nothing can be guessed about it, so a slow password
hash would protect nothing and let anybody spend the service's time: its SHA-256 is stored, which
`printf %s KEY | sha256sum` makes as well. A text of another shape is refused before it is hashed,
so a short password never becomes a key by being hashed.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import api_keys_source

KeyScope = Literal["read", "write", "admin"]

PREFIX = "llmrec_"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_SHAPE = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_HASH = "sha256:"
_REMEDY = "Make an entry with `llmrec keys new --name NAME --scope read`."


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that the service knows, by its name, its scopes and its SHA-256."""

    name: str
    scopes: frozenset[KeyScope]
    digest: bytes = field(repr=False)

    def allows(self, scope: KeyScope) -> bool:
        """Whether the key may do it; `admin` includes the others."""
        return scope in self.scopes or "admin" in self.scopes


class Keyring:
    """The keys in force; without any, none is asked for."""

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    @property
    def required(self) -> bool:
        return bool(self._keys)

    def replace(self, keys: Sequence[ApiKey]) -> None:
        """Put other keys in force, for all requests from now on."""
        self._keys = tuple(keys)

    def find(self, presented: str) -> ApiKey | None:
        """Whose key it is; the time taken tells nothing about the keys that are known."""
        if _SHAPE.fullmatch(presented) is None:
            return None
        digest = _digest(presented)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def new_key(name: str, scopes: Sequence[KeyScope]) -> tuple[str, str]:
    """A fresh key, which is stored nowhere, and its entry for the list of keys (YAML)."""
    key = PREFIX + secrets.token_urlsafe(32)
    entry = {"name": name, "scopes": list(scopes), "hash": _HASH + _digest(key).hex()}
    parse_keys(yaml.safe_dump([entry]), "the new key")
    return key, yaml.safe_dump([entry], sort_keys=False, default_flow_style=None, width=1000)


def load_keys() -> tuple[ApiKey, ...]:
    """The keys of `LLMREC_API_KEYS`, or of the file `LLMREC_API_KEYS_FILE` names; else none."""
    found = api_keys_source()
    return () if found is None else parse_keys(found.text, found.name)


# ── the list ─────────────────────────────────────────────────────────────────────────────────────


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    scopes: Annotated[list[KeyScope], Field(min_length=1)]
    hash: Annotated[str, Field(pattern=f"^{_HASH}[0-9a-f]{{64}}$", repr=False)]


def parse_keys(text: str, source: str) -> tuple[ApiKey, ...]:
    """The keys of a YAML or JSON list; an error says which entry, and repeats no secret."""
    if _holds_a_key(text):
        raise InvalidSettings(
            f"{source} holds a key itself, where only its hash belongs: that key is now known to"
            f" whoever can read {source}. Replace it. {_REMEDY}"
        )
    try:
        read: object = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        where = getattr(cause, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        # The cause quotes the text, so it is not chained.
        raise InvalidSettings(f"{source} is not YAML or JSON{line}. {_REMEDY}") from None
    if not isinstance(read, list):
        raise InvalidSettings(f"{source} must be a list of {{name, scopes, hash}}. {_REMEDY}")
    if not read:
        raise InvalidSettings(f"{source} holds no key. {_REMEDY} To ask for no key, unset it.")
    try:
        entries = TypeAdapter(list[_Entry]).validate_python(read)
    except ValidationError as cause:
        raise InvalidSettings(_fault(cause, source)) from None
    for what in ("name", "hash"):
        _require_different(entries, what, source)
    return tuple(
        ApiKey(one.name, frozenset(one.scopes), bytes.fromhex(one.hash.removeprefix(_HASH)))
        for one in entries
    )


def _holds_a_key(text: str) -> bool:
    return _SHAPE.search(text) is not None


def _fault(error: ValidationError, source: str) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    entry, *rest = first["loc"]
    place = f"entry {int(entry) + 1}" + (f", {'.'.join(map(str, rest))}" if rest else "")
    told = {
        "name": "must be letters, digits, '.', '_' or '-', 64 at most",
        "hash": f"must be '{_HASH}' and 64 lower-case hexadecimal digits",
    }.get(str(rest[0]) if rest else "", first["msg"])
    if first["type"] in {"missing", "extra_forbidden"}:
        told = first["msg"]
    return f"{source}, {place}: {told}. {_REMEDY}"


def _require_different(entries: Sequence[_Entry], what: str, source: str) -> None:
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        value = str(getattr(entry, what))
        if value in seen:
            raise InvalidSettings(
                f"{source}: entries {seen[value]} and {number} have the same {what}; each key has"
                f" its own. {_REMEDY}"
            )
        seen[value] = number


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("ascii")).digest()
