"""Ingestion on Ray Data after `kill -9`, of an encoder and of the driver."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.local import FolderStore

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

COUNT = 400  # eight parts, each a chunk
DESCRIPTION = "files: items.jsonl\ncolumns: {id: id, title: title}\n"


def run(folder: Path, chunks: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.support.ingesting_on_ray", str(folder), str(chunks)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_what_was_finished_before_a_kill_is_not_embedded_again(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"i{n}", "title": f"Item number {n}"}) for n in range(COUNT)]
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    (tmp_path / "items.yaml").write_text(DESCRIPTION)
    killed = run(tmp_path, 5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert (tmp_path / "killed").exists()
    done = run(tmp_path, 0)
    assert done.returncode == 0, done.stderr[-2000:]
    asked = (tmp_path / "asked-0").read_text().splitlines()
    # five chunks arrived, so at least four of eight parts were stored
    assert 0 < len(asked) < COUNT * 5 / 8
    assert len(set(asked)) == len(asked)
    assert done.stdout.split()[-1] == _full(tmp_path)


def _full(folder: Path) -> str:
    """The generation that an ingestion in this process makes in another store."""
    with open_event_store(f"sqlite:///{folder}/other.db", timeout_s=5, ttl_s=3600) as events:
        return ingest(
            folder / "items.yaml",
            Sources(FolderStore(folder / "other"), events, "test"),
            embed=HashingEmbedder().passages,
            encoder=HashingEmbedder().info,
            learning=LearningSettings(),
            rejected=folder / "rejected",
        ).manifest.generation
