"""`llmrec train`: events become the current generation, or an exit code says why not."""

from pathlib import Path

import pytest

from llmrec_ray.cli import main
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.generation.activation import current
from tests.support.training import Live, live

SETTINGS = """
object_store: {{url: 'file://{folder}/objects'}}
event_store: {{url: 'sqlite:///{folder}/events.db'}}
learning:
  {{tune_maps: 0, tune_mixes: 0, taste_dim: 8, event_weights: {{like: {like}, rating: 1.0}}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "settings.yaml").write_text(SETTINGS.format(folder=tmp_path, like=1.0))
    monkeypatch.setenv("LLMREC_SETTINGS", str(tmp_path / "settings.yaml"))
    return tmp_path


@pytest.fixture
def now(folder: Path) -> Live:
    """A live generation, and its events and the newer ones in the event store."""
    made = live(folder, users=60)
    with open_event_store(f"sqlite:///{folder / 'events.db'}", timeout_s=5, ttl_s=60) as events:
        events.append(made.events.events)
    return made


def train(*options: str) -> str | int | None:
    with pytest.raises(SystemExit) as exited:
        main(["train", *options])
    return exited.value.code


def generation(now: Live) -> str:
    active = current(now.objects)
    assert active is not None
    return active.generation


def test_stored_events_become_the_current_generation(
    now: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    printed = capsys.readouterr().out
    assert "On what 60 users liked after 2026-01-01 08:00" in printed
    assert f"Generation {generation(now)}: 30 items, 720 events, current since" in printed
    assert generation(now) != now.manifest.generation


def test_a_worse_generation_has_an_exit_code_of_its_own(
    now: Live, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "settings.yaml").write_text(SETTINGS.format(folder=folder, like=0.0))
    assert train() == 3
    assert "not published" in capsys.readouterr().err
    assert generation(now) == now.manifest.generation
    assert train("--force", "--no-activate") == 0
    assert generation(now) == now.manifest.generation
    assert train("--force") == 0
    assert generation(now) != now.manifest.generation


def test_an_event_file_is_learned_from_instead_of_the_store(
    now: Live, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"v{n},i{n % 30},5,{n}" for n in range(90)]
    (folder / "other.csv").write_text("\n".join(["user,item,value,time", *rows]) + "\n")
    described = ("--catalog", str(folder / "catalog.yaml"))
    assert train(*described, "--events", str(folder / "other.csv")) == 0
    printed = capsys.readouterr()
    assert "events: 90 of 90 rows kept" in printed.err
    assert "Not compared with the live generation: 0 users" in printed.out
    assert f"Generation {generation(now)}: 30 items, 90 events" in printed.out


def test_an_event_file_needs_its_description(now: Live, folder: Path) -> None:
    assert train("--events", str(folder / "events.csv")) == 2
    assert generation(now) == now.manifest.generation


def test_a_description_without_events_is_refused_with_the_remedy(
    now: Live, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "plain.yaml").write_text("files: items.csv\ncolumns: {id: id, title: title}\n")
    assert train("--catalog", str(folder / "plain.yaml")) == 1
    assert "leave --catalog out" in capsys.readouterr().err
    assert generation(now) == now.manifest.generation


@pytest.mark.usefixtures("folder")
def test_without_a_generation_the_remedy_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert train() == 1
    assert "llmrec publish" in capsys.readouterr().err
