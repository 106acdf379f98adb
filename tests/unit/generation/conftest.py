"""Stores for generations."""

from pathlib import Path

import pytest

from llmrec_ray.storage.local import FolderStore
from tests.support.generations import FaultyStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the objects lie as files."""
    return tmp_path / "objects"


@pytest.fixture
def store(folder: Path) -> FolderStore:
    return FolderStore(folder, durable=False)


@pytest.fixture
def faulty(store: FolderStore) -> FaultyStore:
    return FaultyStore(store)
