"""Arrow tables as content-addressed objects: the key of one holds the hash of its bytes.

The format is Arrow's IPC file. Tables of vectors are stored plain: zstd takes less than a tenth off
unit vectors, and a plain file can be mapped into memory without a copy. Everything else is ids,
texts and small numbers, which zstd halves.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import pyarrow as pa

from llmrec_ray.errors import Corrupt, NotFound
from llmrec_ray.ports import ObjectStore

HASH_BYTES = 32


class Ref(Protocol):
    """What is needed to fetch and check an object."""

    @property
    def key(self) -> str: ...

    @property
    def hash(self) -> str: ...

    @property
    def bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is in the store: its key, the BLAKE2b-256 of its bytes in hex, its size."""

    key: str
    hash: str
    bytes: int


def put_table(store: ObjectStore, prefix: str, table: pa.Table) -> Stored:
    """Store the table at `PREFIX/ab/abcd….arrow`, unless that object exists already."""
    data = encode(table)
    digest = content_hash(data)
    key = f"{prefix}/{digest[:2]}/{digest}.arrow"
    if not store.exists(key):
        store.create(key, data)
    return Stored(key, digest, len(data))


def get_table(store: ObjectStore, ref: Ref) -> pa.Table:
    """The table of an object; `Corrupt` where it is missing, cut short or changed."""
    if (problem := damage(data := _fetch(store, ref), ref)) or data is None:
        raise Corrupt(
            f"object {ref.key} {problem}. Run `llmrec generations verify --remove-damaged` and"
            " publish again, or roll back.",
            key=ref.key,
        )
    return decode(data)


def check_object(store: ObjectStore, ref: Ref) -> str | None:
    """What is wrong with the stored object, or None."""
    return damage(_fetch(store, ref), ref)


def damage(data: bytes | None, ref: Ref) -> str | None:
    """What is wrong with an object's bytes (None: it is missing), or None."""
    if data is None:
        return "is missing"
    if len(data) != ref.bytes:
        return f"has {len(data)} bytes instead of {ref.bytes}"
    return None if content_hash(data) == ref.hash else "does not match its checksum"


def content_hash(data: bytes) -> str:
    """BLAKE2b-256, in hex."""
    return blake2b(data, digest_size=HASH_BYTES).hexdigest()


def encode(table: pa.Table) -> bytes:
    """The table as an Arrow IPC file: one batch, so that chunks make no difference to the bytes."""
    plain = any(isinstance(kind, pa.FixedSizeListType) for kind in table.schema.types)
    options = pa.ipc.IpcWriteOptions(compression=None if plain else "zstd")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def decode(data: bytes) -> pa.Table:
    """The table of `encode`d bytes; plain columns share their memory."""
    with pa.ipc.open_file(pa.BufferReader(data)) as reader:
        return reader.read_all()


def _fetch(store: ObjectStore, ref: Ref) -> bytes | None:
    try:
        return store.get(ref.key)
    except NotFound:
        return None
