"""What is published: from an object store to manifests, tables, and what is wrong with them."""

import json
import re
from dataclasses import dataclass

import pyarrow as pa
from pydantic import ValidationError

from llmrec_ray.errors import Corrupt, GenerationNotFound, NotFound
from llmrec_ray.generation.buckets import BUCKETS
from llmrec_ray.generation.manifest import FORMAT, PLAIN_FORMAT, Manifest, ObjectRef
from llmrec_ray.ports import ObjectStore
from llmrec_ray.storage.tables import check_object, get_table

GENERATIONS = "generations"
OBJECTS = "objects"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one stored object of a generation."""

    key: str
    problem: str
    missing: bool


def manifest_key(generation: str) -> str:
    """Where the manifest of a generation is."""
    return f"{GENERATIONS}/{generation}/{MANIFEST}"


def load_manifest(store: ObjectStore, generation: str) -> Manifest:
    """The manifest of a generation; `GenerationNotFound`, or `Corrupt` where it cannot be read."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", generation):
        raise _not_found(generation)
    key = manifest_key(generation)
    try:
        data = store.get(key)
    except NotFound as cause:
        raise _not_found(generation) from cause
    _check_format(data, key)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as cause:
        first = cause.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its JSON"
        raise _unreadable(key, f"{where}: {first['msg']}") from cause
    if manifest.generation != generation:
        raise _unreadable(key, f"it is the manifest of {manifest.generation}")
    if (bucket := _left_out(manifest)) is not None:
        raise _unreadable(key, f"no segment has bucket {bucket}")
    if (rows := sum(segment.rows for segment in manifest.segments)) != manifest.items:
        raise _unreadable(key, f"its segments have {rows} items instead of {manifest.items}")
    return manifest


def list_generations(store: ObjectStore) -> list[str]:
    """The ids of every published generation, sorted."""
    names = [key.split("/") for key in store.list(f"{GENERATIONS}/")]
    return sorted(name[1] for name in names if len(name) == 3 and name[2] == MANIFEST)


def read_object(store: ObjectStore, ref: ObjectRef) -> pa.Table:
    """The table of an object; `Corrupt` where it is missing, cut short or changed."""
    return get_table(store, ref)


def verify(store: ObjectStore, generation: str) -> list[Problem]:
    """Compare every object of a generation with its checksum; empty where all is well."""
    refs = {
        ref.key: ref
        for segment in load_manifest(store, generation).segments
        for ref in segment.objects.values()
    }
    found = ((key, check_object(store, ref)) for key, ref in sorted(refs.items()))
    return [Problem(key, problem, problem == "is missing") for key, problem in found if problem]


def _left_out(manifest: Manifest) -> int | None:
    """The first bucket that no segment covers: its items would be gone without a word."""
    covered = 0
    for segment in sorted(manifest.segments, key=lambda segment: segment.first_bucket):
        if segment.first_bucket > covered:
            break
        covered = max(covered, segment.end_bucket)
    return covered if covered < BUCKETS else None


def _check_format(data: bytes, key: str) -> None:
    """Another format fails in a way of its own: its names would look like damage."""
    try:
        stated: object = json.loads(data).get("format")
    except (ValueError, AttributeError) as cause:
        raise _unreadable(key, "it is not the JSON of a manifest") from cause
    if isinstance(stated, int) and stated > FORMAT:
        raise Corrupt(
            f"{key} has format {stated}, and this version of llmrec-ray reads formats up to"
            f" {FORMAT}. Upgrade llmrec-ray, or activate a generation of an older format.",
            key=key,
            format=stated,
        )
    if isinstance(stated, int) and stated < PLAIN_FORMAT:
        raise Corrupt(
            f"{key} has format {stated}, of an earlier release, and this one reads formats from"
            f" {PLAIN_FORMAT}. Publish the catalogue again.",
            key=key,
            format=stated,
        )


def _unreadable(key: str, problem: str) -> Corrupt:
    return Corrupt(
        f"{key} cannot be read ({problem}). Delete that object and publish again, or activate"
        " another generation.",
        key=key,
    )


def _not_found(generation: str) -> GenerationNotFound:
    return GenerationNotFound(
        f"no generation {generation!r} was published; `llmrec generations list` shows which were.",
        generation=generation,
    )
