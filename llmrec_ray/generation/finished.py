"""Text vectors that a run has finished: kept in the object store, found again by what they are of.

A part's name is a hash of its encoder and its texts, in order. What an interrupted run left is
garbage to a collection, and so stays for its grace period.
"""

from collections.abc import Iterable
from hashlib import blake2b

import pyarrow as pa
from pydantic import ValidationError

from llmrec_ray.errors import Corrupt, NotFound
from llmrec_ray.generation.manifest import ObjectRef
from llmrec_ray.generation.published import OBJECTS, read_object
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import vectors_schema
from llmrec_ray.storage.columns import vectors, vectors_column, vectors_dim
from llmrec_ray.storage.tables import put_table
from llmrec_ray.types import Float32s


def part_name(encoder: str, texts: Iterable[str]) -> str:
    """The name of the vectors that an encoder makes of these texts."""
    total = blake2b(encoder.encode(), digest_size=32)
    for text in texts:
        total.update(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    return total.hexdigest()


def remember(store: ObjectStore, name: str, made: Float32s) -> None:
    """Store the vectors, as a segment's object would have them, and that they are finished."""
    table = pa.table([vectors_column(made)], schema=vectors_schema(made.shape[1]))
    stored = put_table(store, OBJECTS, table)
    ref = ObjectRef(key=stored.key, hash=stored.hash, bytes=stored.bytes)
    store.create(_key(name), ref.model_dump_json().encode())


def recall(store: ObjectStore, name: str, shape: tuple[int, int]) -> Float32s | None:
    """The vectors of a finished part, float32 `shape`; None where there is none that can be used.

    What is damaged is deleted, so that it can be remembered again.
    """
    key = _key(name)
    try:
        ref = ObjectRef.model_validate_json(store.get(key))
        table = read_object(store, ref)
    except NotFound:
        return None
    except (ValidationError, Corrupt):
        store.delete(key)
        return None
    return vectors(table) if (table.num_rows, vectors_dim(table)) == shape else None


def _key(name: str) -> str:
    return f"{OBJECTS}/{name[:2]}/{name}.json"
