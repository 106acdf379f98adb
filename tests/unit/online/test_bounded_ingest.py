"""What an ingestion holds of an item does not grow with the item's text or vector."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Float32s

TEXT = 4_000  # characters: far more than an item's id and its places in tables
FEW, MANY = 9_000, 27_000  # more than are read at once
HELD = 1_000  # bytes an item: less than a text

DESCRIPTION = """
files: items.csv
columns: {id: id, title: title, text: [plot]}
"""


def held(folder: Path, count: int) -> int:
    """The most bytes that Python, numpy and Arrow held while so many items were ingested."""
    folder.mkdir()
    (folder / "items.yaml").write_text(DESCRIPTION, "utf-8")
    with (folder / "items.csv").open("w", encoding="utf-8") as file:
        file.write("id,title,plot\n")
        file.writelines(f"i{n},Item {n},{'of word ' * (TEXT // 8)}{n}\n" for n in range(count))
    vector = HashingEmbedder().passages(["word"])
    most = 0

    def look(*_: object) -> None:
        nonlocal most
        most = max(most, pa.total_allocated_bytes() + tracemalloc.get_traced_memory()[0])

    def embed(texts: Sequence[str]) -> Float32s:
        look()
        return vector.repeat(len(texts), axis=0)

    look()
    start, most = most, 0
    with open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=3600) as events:
        ingest(
            folder / "items.yaml",
            Sources(FolderStore(folder / "objects", durable=False), events, "test"),
            embed=embed,
            encoder=HashingEmbedder().info,
            learning=LearningSettings(),
            rejected=folder / "rejected",
            progress=look,
        )
    return most - start


def test_an_ingestion_holds_less_of_an_item_than_its_text(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        few, many = held(tmp_path / "few", FEW), held(tmp_path / "many", MANY)
    finally:
        tracemalloc.stop()
    assert (many - few) / (MANY - FEW) < HELD
