"""Activations: numbered create-once objects, of which the highest names the current generation."""

import re
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from pydantic import ValidationError

from llmrec_ray.errors import (
    Conflict,
    Corrupt,
    EncoderMismatch,
    GenerationNotFound,
    NotFound,
    StoreUnavailable,
)
from llmrec_ray.generation.leases import writing
from llmrec_ray.generation.manifest import Manifest, Record
from llmrec_ray.generation.published import load_manifest, manifest_key
from llmrec_ray.ports import EncoderInfo, ObjectStore

ACTIVATIONS = "activations"
ATTEMPTS = 100


class Activation(Record):
    """Who made which generation current, and when; `token` tells two writes of one writer apart."""

    number: int
    generation: str
    writer: str
    at: datetime
    token: str


def activation_key(number: int) -> str:
    """Where the activation of a number is."""
    return f"{ACTIVATIONS}/{number:08d}.json"


def activate(store: ObjectStore, generation: str, writer: str) -> Activation:
    """Make a published generation current, under a number that no other activation has.

    `GenerationNotFound`, or `Conflict` where a collection is deleting it.
    """
    return _append(store, writer, lambda: generation)


def activate_next(
    store: ObjectStore, generation: str, writer: str, before: Activation
) -> Activation:
    """Make a generation current right after `before`; `Conflict` where another came first."""
    activation = Activation(
        number=before.number + 1,
        generation=generation,
        writer=writer,
        at=datetime.now(UTC),
        token=uuid.uuid4().hex,
    )
    if _wrote(store, activation):
        return activation
    raise Conflict(
        f"another generation was activated since {before.generation}, and stays current. Run this"
        " again, to go on from that one."
    )


def rollback(store: ObjectStore, writer: str) -> Activation:
    """Make the generation current that was so before the current one; twice leads back again."""
    return _append(store, writer, lambda: _before_current(store))


def current(store: ObjectStore, known: Activation | None = None) -> Activation | None:
    """The newest activation, or None; `known` saves the listing: only newer ones are looked for."""
    if known is None:
        number = _highest(store)
        return _read(store, number) if number else None
    while newer := _read_if_there(store, known.number + 1):
        known = newer
    return known


def history(store: ObjectStore) -> list[Activation]:
    """Every activation, oldest first."""
    return [_read(store, number) for number in _numbers(store)]


def recently_current(store: ObjectStore, keep: int, since: datetime) -> set[str]:
    """The `keep` generations that were current last, and all that were so at or after `since`."""
    written = store.stats(f"{ACTIVATIONS}/")
    found: set[str] = set()
    until: datetime | None = None  # when what is looked at was replaced; None: it is current
    for number in reversed(_numbers_of(written)):
        if len(found) >= keep and until is not None and until < since:
            break
        found.add(_read(store, number).generation)
        until = written[activation_key(number)].modified
    return found


def require_encoder(manifest: Manifest, info: EncoderInfo) -> None:
    """Raise `EncoderMismatch` unless the generation's vectors come from this very encoder."""
    made_with = manifest.encoder
    if (made_with.hash, made_with.dim) == (info.hash, info.dim):
        return
    raise EncoderMismatch(
        f"generation {manifest.generation} was made with {made_with.name} ({made_with.dim}"
        f" dimensions, {made_with.hash[:12]}), and embedding.model is {info.name} ({info.dim}"
        f" dimensions, {info.hash[:12]}). Set embedding.model and its prefixes back, ingest again"
        " with the new model, or activate a generation made with it.",
        generation=manifest.generation,
        made_with=made_with.name,
        configured=info.name,
    )


def _append(store: ObjectStore, writer: str, choose: Callable[[], str]) -> Activation:
    """Write the next number; where another writer took it, choose again for the one after."""
    for _ in range(ATTEMPTS):
        number = _highest(store) + 1
        activation = Activation(
            number=number,
            generation=choose(),
            writer=writer,
            at=datetime.now(UTC),
            token=uuid.uuid4().hex,
        )
        if _wrote(store, activation):
            return activation
    raise Conflict(f"{ATTEMPTS} other activations came first. Stop other writers, and try again.")


def _wrote(store: ObjectStore, activation: Activation) -> bool:
    """Whether this activation got its number; its generation is there, and no collection takes it.

    Raises `GenerationNotFound` or `Conflict` otherwise.
    """
    with writing(store) as lease:
        load_manifest(store, activation.generation)
        lease.require(manifest_key(activation.generation))
        return _created(store, activation)


def _created(store: ObjectStore, activation: Activation) -> bool:
    """Whether the number is this activation's; what the store holds resolves a lost reply."""
    key = activation_key(activation.number)
    lost: StoreUnavailable | None = None
    try:
        if store.create(key, activation.model_dump_json().encode()):
            return True
    except StoreUnavailable as cause:
        lost = cause
    try:
        return _read(store, activation.number).token == activation.token
    except NotFound:
        if lost:
            raise lost from None
        raise


def _before_current(store: ObjectStore) -> str:
    now: str | None = None
    for number in reversed(_numbers(store)):
        activation = _read(store, number)
        now = now or activation.generation
        if activation.generation != now:
            return activation.generation
    raise GenerationNotFound(
        "there is no earlier generation to roll back to. `llmrec generations list` shows what was"
        " published; `llmrec generations activate` takes any of them."
    )


def _numbers(store: ObjectStore) -> list[int]:
    return _numbers_of(store.list(f"{ACTIVATIONS}/"))


def _numbers_of(keys: Iterable[str]) -> list[int]:
    found = (re.fullmatch(rf"{ACTIVATIONS}/(\d{{8}})\.json", key) for key in keys)
    return sorted(int(match.group(1)) for match in found if match)


def _highest(store: ObjectStore) -> int:
    return max(_numbers(store), default=0)


def _read(store: ObjectStore, number: int) -> Activation:
    key = activation_key(number)
    try:
        return Activation.model_validate_json(store.get(key))
    except ValidationError as cause:
        raise Corrupt(
            f"{key} cannot be read. Activate the generation that you want: the next number counts.",
            key=key,
        ) from cause


def _read_if_there(store: ObjectStore, number: int) -> Activation | None:
    try:
        return _read(store, number)
    except NotFound:
        return None
