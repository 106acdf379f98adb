"""An ingestion on Ray whose first encoder is killed, and whose driver is, after some chunks.

`python -m tests.support.ingesting_on_ray FOLDER CHUNKS` ingests FOLDER/items.yaml, notes what each
encoder was asked in FOLDER/asked-CHUNKS, and dies after so many chunks; 0: never.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import ray

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.text_vectors import Chunk, Embed, Pool
from llmrec_ray.types import Float32s, Ints
from serve.embedding import on_ray
from serve.ingest import start


class Mortal:
    """The hashing encoder; the first actor that is asked is killed, once for all runs."""

    def __init__(self, folder: Path, asked: Path) -> None:
        self._folder = folder
        self._asked = asked

    def __call__(self, texts: Sequence[str]) -> Float32s:
        try:
            (self._folder / "killed").touch(exist_ok=False)
        except FileExistsError:
            with self._asked.open("a") as file:
                file.writelines(f"{text}\n" for text in texts)
            return HashingEmbedder().passages(texts)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def dying(pool: Pool, chunks_left: int) -> Pool:
    """A pool that kills this process after some chunks."""

    def run(embed: Embed, chunks: Iterable[Chunk]) -> Iterator[tuple[Ints, Float32s]]:
        for number, found in enumerate(pool(embed, chunks), start=1):
            yield found
            if number == chunks_left:
                os.kill(os.getpid(), signal.SIGKILL)

    return run


def main() -> None:
    folder = Path(sys.argv[1])
    start(None, 2)
    with open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600) as events:
        made = ingest(
            folder / "items.yaml",
            Sources(FolderStore(folder / "objects"), events, "test"),
            embed=Mortal(folder, folder / f"asked-{sys.argv[2]}"),
            encoder=HashingEmbedder().info,
            learning=LearningSettings(),
            rejected=folder / "rejected",
            pool=dying(on_ray(2), int(sys.argv[2])),
        )
    ray.shutdown()
    print(made.manifest.generation)  # noqa: T201


if __name__ == "__main__":
    main()
