"""Servers and folders that the contract suites run on."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmrec_ray.ports import ObjectStore
from llmrec_ray.storage.local import FolderStore
from tests.support.postgres import PostgresServer
from tests.support.seaweed import SeaweedServer

BUCKET = "contract"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server a run; every test that asks for one gets a schema of its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def event_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an event store can be opened; nothing is there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.db"
    return request.getfixturevalue("postgres_server").url()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """One S3 server a run, with one bucket; every test has a prefix of its own."""
    with SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture(params=["folder", "s3"])
def object_store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty object store."""
    if request.param == "folder":
        return FolderStore(tmp_path / "objects")
    return request.getfixturevalue("s3_server").store(BUCKET, uuid.uuid4().hex)
