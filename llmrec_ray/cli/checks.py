"""Settings and a service's URL in, what works and what does not out, each with what to do."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from llmrec_ray.embedding.identity import hash_without_loading
from llmrec_ray.errors import LLMRecError
from llmrec_ray.generation.activation import current, require_encoder
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.published import load_manifest, verify
from llmrec_ray.parts import open_events, open_objects
from llmrec_ray.ports import EncoderInfo, ObjectStore
from llmrec_ray.settings import Settings

PROBES = "doctor"
ASK_S = 10.0
NOT_LOOKED_AT = "not looked at: {} first."

State = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and what it says; a failure says what to do."""

    name: str
    state: State
    says: str


def examine(settings: Settings, url: str | None, *, every_object: bool) -> Iterator[Check]:
    """Every check in the order in which one needs the other, told as it is done."""
    objects = guarded("object store", lambda: _objects(settings))
    yield objects
    yield guarded("event store", lambda: _events(settings))
    active: Manifest | None = None
    if objects.state == "fail":
        yield Check("generation", "skipped", NOT_LOOKED_AT.format("the object store"))
    else:
        store = open_objects(settings)
        generation, active = _current(store, every_object=every_object)
        yield generation
    if active is None:
        yield Check("encoder", "skipped", NOT_LOOKED_AT.format("the generation"))
    else:
        manifest = active
        yield guarded("encoder", lambda: _encoder(settings, manifest))
    if url is not None:
        yield guarded("service", lambda: _service(url.rstrip("/"), active))


def guarded(name: str, look: Callable[[], Check]) -> Check:
    """The check, or the error that ended it as a failure."""
    try:
        return look()
    except LLMRecError as error:
        return Check(name, "fail", str(error))
    except Exception as error:  # noqa: BLE001 a check that breaks must not hide the others
        return Check(name, "fail", f"the check itself failed: {type(error).__name__}: {error}")


def _objects(settings: Settings) -> Check:
    """Write once, be refused, read back, delete: all that the service and publishing need."""
    store, key = open_objects(settings), f"{PROBES}/{uuid.uuid4().hex}"
    url = settings.object_store.url
    try:
        first = store.create(key, b"llmrec doctor")
        again = store.create(key, b"written over")
        read = store.get(key)
    finally:
        store.delete(key)
    if not first or again or read != b"llmrec doctor":
        return Check(
            "object store",
            "fail",
            f"{url} lets an object be written twice, so two publishers could overwrite each other."
            " Use a store that honours conditional PUTs (If-None-Match).",
        )
    if store.exists(key):
        return Check(
            "object store", "warn", f"{url} does not delete: {key} is left. Grant s3:DeleteObject."
        )
    return Check("object store", "ok", f"{url} writes once, reads and deletes.")


def _events(settings: Settings) -> Check:
    with open_events(settings) as store:
        store.check()
    kind = settings.event_store.url.partition(":")[0]
    return Check("event store", "ok", f"a database of kind {kind} with tables of this release.")


def _current(store: ObjectStore, *, every_object: bool) -> tuple[Check, Manifest | None]:
    found: list[Manifest] = []

    def look() -> Check:
        active = current(store)
        if active is None:
            return Check(
                "generation",
                "fail",
                "none is active. Publish a catalogue with `llmrec publish CATALOG.yaml`, or make"
                " a published one current with `llmrec generations activate`.",
            )
        manifest = load_manifest(store, active.generation)
        found.append(manifest)
        return _sound(store, manifest, every_object=every_object)

    check = guarded("generation", look)
    return check, found[0] if found else None


def _sound(store: ObjectStore, manifest: Manifest, *, every_object: bool) -> Check:
    name = manifest.generation
    if not every_object:
        return Check("generation", "ok", f"{name} is current; its objects were not read.")
    if problems := verify(store, name):
        first = problems[0]
        return Check(
            "generation",
            "fail",
            f"{len(problems)} objects of {name} are damaged; {first.key} {first.problem}. Run"
            " `llmrec generations verify --remove-damaged` and publish again, or roll back with"
            " `llmrec generations rollback`.",
        )
    return Check("generation", "ok", f"{name} is current, and its objects match their checksums.")


def _encoder(settings: Settings, manifest: Manifest) -> Check:
    embedding, made_with = settings.embedding, manifest.encoder
    found = hash_without_loading(
        embedding.model,
        query_prefix=embedding.query_prefix,
        passage_prefix=embedding.passage_prefix,
        runtime=embedding.runtime,
    )
    if found is None:
        return Check(
            "encoder",
            "warn",
            f"the files of {embedding.model} are not on this machine, so they cannot be compared"
            f" with those of {made_with.name}. The service compares them when it starts.",
        )
    require_encoder(manifest, EncoderInfo(embedding.model, found, made_with.dim))
    return Check("encoder", "ok", f"{embedding.model} made the vectors of {manifest.generation}.")


def _service(url: str, active: Manifest | None) -> Check:
    try:
        answer = httpx.get(f"{url}/readyz", timeout=ASK_S)
    except (httpx.HTTPError, httpx.InvalidURL) as cause:
        return Check(
            "service",
            "fail",
            f"{url} does not answer ({type(cause).__name__}). Start it, or correct --url.",
        )
    try:
        told: dict[str, Any] = answer.json()
        ready, parts, serving = told["ready"], told["components"], told.get("generation")
        waits = [f"{part['name']} for {part['waits_for']}" for part in parts if not part["ready"]]
    except (ValueError, KeyError, TypeError):
        return Check(
            "service",
            "fail",
            f"{url}/readyz answers {answer.status_code}, but not as llmrec-ray does."
            " Correct --url.",
        )
    waiting = f" It waits: {'; '.join(waits)}" if waits else ""
    if not ready:
        return Check("service", "fail", f"{url} is not ready.{waiting}")
    if waiting:
        return Check("service", "warn", f"{url} answers from {serving}.{waiting}")
    if active is not None and serving != active.generation:
        return Check(
            "service",
            "warn",
            f"{url} answers from {serving}, and {active.generation} is current. If that lasts, the"
            " service has another object_store.url than these settings.",
        )
    return Check("service", "ok", f"{url} answers from {serving}, and waits for nothing.")
