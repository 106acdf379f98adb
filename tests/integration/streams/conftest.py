"""A NATS server with the streams that a consumer needs, and settings that name them."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.parts import load_embedder
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.ports import Embedder
from llmrec_ray.settings import LearningSettings, Settings, settings_of
from llmrec_ray.storage.local import FolderStore
from tests.support.films import catalogue
from tests.support.nats import NatsServer


@dataclass(frozen=True)
class Place:
    """A server, a folder, and the settings of a consumer between the two."""

    server: NatsServer
    folder: Path

    @property
    def settings(self) -> Settings:
        return settings_of(self.values())

    def values(self, **streams: object) -> dict[str, dict[str, object]]:
        quick = {"url": self.server.url, "batch": 100, "timeout_s": 2, "retry_s": 0.2}
        return {
            "event_store": {"url": f"sqlite:///{self.folder}/events.db"},
            "object_store": {"url": f"file://{self.folder}/objects"},
            "embedding": {"model": "hashing"},
            "streams": {**quick, **streams},
        }

    def file(self, **streams: object) -> Path:
        path = self.folder / "settings.yaml"
        path.write_text(yaml.safe_dump(self.values(**streams)), "utf-8")
        return path


def event(number: int, **changed: object) -> bytes:
    """The body of one of many events, by 50 users on 200 items."""
    plain = {
        "event_id": f"e{number:06}",
        "user_id": f"u{number % 50}",
        "item_id": f"i{number % 200}",
        "type": "click",
        "time": f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z",
    }
    return json.dumps({**plain, **changed}).encode()


def item(number: int, title: str = "A title") -> bytes:
    """The body that puts an item."""
    return json.dumps({"item_id": f"i{number:04}", "title": title}).encode()


def publish_generation(folder: Path, encoder: Embedder | None = None) -> None:
    """The small catalogue as a generation, by the encoder of the settings or another."""
    encoder = encoder or load_embedder(settings_of({"embedding": {"model": "hashing"}}))
    with open_event_store(f"sqlite:///{folder}/events.db", timeout_s=30, ttl_s=60) as events:
        ingest(
            catalogue(folder),
            Sources(FolderStore(folder / "objects"), events, "test", events.items),
            embed=encoder.passages,
            encoder=encoder.info,
            learning=LearningSettings(tune_maps=0, tune_mixes=0),
            rejected=folder / "rejected",
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with NatsServer(tmp_path / "nats") as server:
        asyncio.run(_add_streams(server))
        yield Place(server, tmp_path)


async def _add_streams(server: NatsServer) -> None:
    await server.add_stream("LLMREC", "llmrec.events", "llmrec.items")
    await server.add_stream("LLMREC-DEAD", "llmrec.dead")
