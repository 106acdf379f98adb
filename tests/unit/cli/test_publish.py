"""`llmrec publish`: a catalogue file becomes the current generation, or a clear error."""

from pathlib import Path

import pytest

from llmrec_ray.cli import main
from llmrec_ray.generation.follow import Follower
from llmrec_ray.storage.local import FolderStore

DESCRIPTION = "files: films.csv\ncolumns: {id: id, title: title, numbers: [year]}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small catalogue, and settings that keep everything in it."""
    (tmp_path / "films.csv").write_text(
        "id,title,year\na,Heat,1995\nb,Alien,1979\n,Nameless,2000\n"
    )
    (tmp_path / "films.yaml").write_text(DESCRIPTION)
    (tmp_path / "settings.yaml").write_text(
        f"object_store: {{url: 'file://{tmp_path}/objects'}}\n"
        f"event_store: {{url: 'sqlite:///{tmp_path}/events.db'}}\n"
        f"embedding: {{model: hashing, cache: '{tmp_path}/cache'}}\n"
    )
    monkeypatch.setenv("LLMREC_SETTINGS", str(tmp_path / "settings.yaml"))
    return tmp_path


def publish(folder: Path, *options: str) -> str | int | None:
    with pytest.raises(SystemExit) as exited:
        main(
            ["publish", str(folder / "films.yaml"), "--rejected", str(folder / "bad"), *options],
        )
    return exited.value.code


def test_a_catalogue_becomes_the_current_generation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(folder) == 0
    manifest = Follower(FolderStore(folder / "objects")).poll()
    assert manifest is not None
    assert manifest.items == 2
    printed = capsys.readouterr().out
    assert "2 of 3 rows kept" in printed
    assert f"Generation {manifest.generation}: 2 items, 0 events, current since" in printed
    assert "Nameless" in (folder / "bad" / "items.jsonl").read_text()


def test_the_event_store_is_closed_when_the_command_is_done(folder: Path) -> None:
    assert publish(folder) == 0
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    assert not [path for path in opened if folder in path.parents]


def test_a_generation_can_be_published_without_making_it_current(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(folder, "--no-activate") == 0
    assert Follower(FolderStore(folder / "objects")).poll() is None
    assert "not activated" in capsys.readouterr().out


def test_a_missing_file_is_named_with_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "films.csv").unlink()
    assert publish(folder) == 1
    assert "films.csv" in capsys.readouterr().err
