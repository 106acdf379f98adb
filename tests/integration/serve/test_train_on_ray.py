"""`python -m serve.train`: stored events become the current generation, trained by Ray tasks."""

import subprocess
import sys
from pathlib import Path

import pytest

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.generation.activation import current
from llmrec_ray.storage.local import FolderStore
from serve.train import main
from tests.support.training import live

SETTINGS = """
object_store: {{url: 'file://{folder}/objects'}}
event_store: {{url: 'sqlite:///{folder}/events.db'}}
learning: {{tune_maps: 0, tune_mixes: 0, taste_dim: 8}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "settings.yaml").write_text(SETTINGS.format(folder=tmp_path))
    return tmp_path


@pytest.mark.long
@pytest.mark.timeout(300)
def test_stored_events_become_the_current_generation(folder: Path) -> None:
    now = live(folder, users=60)
    with open_event_store(f"sqlite:///{folder / 'events.db'}", timeout_s=5, ttl_s=60) as events:
        events.append(now.events.events)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "serve.train"),
            *("--settings", str(folder / "settings.yaml")),
            *("--log", str(folder / "ray.log")),
        ],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    active = current(now.objects)
    assert active is not None
    assert active.generation != now.manifest.generation
    assert f"Generation {active.generation}: 30 items, 720 events, current" in done.stdout


def test_without_a_generation_the_remedy_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--settings", str(folder / "settings.yaml")]) == 1
    assert "llmrec publish" in capsys.readouterr().out
    assert current(FolderStore(folder / "objects")) is None
