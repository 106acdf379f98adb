"""An embedder that remembers: passages go in, and only those never seen before reach the model.

One SQLite file an encoder; its key is the text's hash, since the encoder's own hash covers weights
and prefixes. Several processes of one host may share the folder. Queries are not kept: they are
users' words.
"""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np

from llmrec_ray.errors import Corrupt, EmbedderUnavailable, InvalidSettings
from llmrec_ray.ports import Embedder, EncoderInfo
from llmrec_ray.types import Float32s

ASKED = 500  # keys a SELECT
COMMITTED = 1024  # passages a transaction: what a killed ingestion loses at most
WAIT_S = 60  # for another process's transaction


class CachedEmbedder:
    """Wraps an embedder; an unchanged passage is embedded once, whichever process asks."""

    def __init__(self, inner: Embedder, folder: Path) -> None:
        self._inner = inner
        self._path = folder / f"{inner.info.hash}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise InvalidSettings(
                f"cannot make the embedding cache {folder}: {cause}. Set embedding.cache to a "
                "folder that can be written.",
                field="embedding.cache",
            ) from cause
        with self._database() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
            )

    @property
    def info(self) -> EncoderInfo:
        return self._inner.info

    def queries(self, texts: Sequence[str]) -> Float32s:
        return self._inner.queries(texts)

    def passages(self, texts: Sequence[str]) -> Float32s:
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        keys = {_key(text): row for text, row in distinct.items()}
        vectors = np.empty((len(distinct), self.info.dim), np.float32)
        with self._database() as database:
            found = self._read(database, keys, vectors)
        missing = sorted((text for text in distinct if not found[distinct[text]]), key=len)
        for start in range(0, len(missing), COMMITTED):
            part = missing[start : start + COMMITTED]
            made = self._inner.passages(part)
            vectors[[distinct[text] for text in part]] = made
            with self._database() as database:
                database.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    (
                        (_key(text), vector.tobytes())
                        for text, vector in zip(part, made, strict=True)
                    ),
                )
        return vectors[[distinct[text] for text in texts]]

    def _read(
        self, database: sqlite3.Connection, keys: dict[bytes, int], vectors: Float32s
    ) -> list[bool]:
        """Fill in the rows that are stored, and say which those were."""
        found = [False] * len(vectors)
        asked = list(keys)
        for start in range(0, len(asked), ASKED):
            part = asked[start : start + ASKED]
            marks = ",".join("?" * len(part))
            rows = database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608
            for key, stored in rows:
                if len(stored) == vectors.itemsize * vectors.shape[1]:
                    vectors[keys[key]] = np.frombuffer(stored, np.float32)
                    found[keys[key]] = True
        return found

    @contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as database, database:
                yield database
        except sqlite3.OperationalError as cause:
            raise EmbedderUnavailable(
                f"cannot use the embedding cache {self._path}: {cause}. Check the disk's space and "
                "the file's rights, or set embedding.cache to another folder."
            ) from cause
        except sqlite3.DatabaseError as cause:
            raise Corrupt(
                f"the embedding cache {self._path} cannot be read: {cause}. Delete the file; its "
                "vectors are made again when they are needed.",
                key=str(self._path),
            ) from cause


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
