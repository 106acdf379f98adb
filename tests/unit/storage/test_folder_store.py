"""What a folder adds to the contract: what may lie in it, and what is told when it is unusable."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from llmrec_ray.errors import InvalidInput, StoreUnavailable
from llmrec_ray.storage.local import FolderStore
from tests.support.faults import pass_time


def test_the_folder_appears_with_the_first_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "deep" / "objects")
    assert store.list("") == []
    assert not (tmp_path / "deep").exists()
    store.create("a", b"x")
    assert (tmp_path / "deep" / "objects" / "a").read_bytes() == b"x"


def test_a_relative_folder_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = FolderStore(Path("objects"))
    monkeypatch.chdir("/")
    store.create("a", b"x")
    assert (tmp_path / "objects" / "a").exists()


def test_a_write_that_a_crash_cut_short_is_no_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("a", b"x")
    (tmp_path / ".partial" / "left-behind").write_bytes(b"half")
    assert store.list("") == ["a"]


def test_nothing_partial_stays_after_a_write(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("a", b"x")
    store.create("a", b"y")
    assert list((tmp_path / ".partial").iterdir()) == []


def test_what_a_killed_writer_left_goes_a_day_later_with_the_next_first_write(
    tmp_path: Path,
) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from llmrec_ray.storage.local import FolderStore\n"
        "os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "FolderStore(Path(sys.argv[1])).create('a', b'half')\n"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert died.returncode == -signal.SIGKILL
    FolderStore(tmp_path).create("a", b"x")
    [left] = (tmp_path / ".partial").iterdir()  # it might still be written to
    pass_time(tmp_path, timedelta(hours=25))
    FolderStore(tmp_path).create("b", b"y")
    assert not left.exists()
    assert FolderStore(tmp_path).list("") == ["a", "b"]


def test_an_object_below_another_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("a", b"x")
    for key in ("a/b", "a/b/c"):
        with pytest.raises(InvalidInput, match="lies below another object"):
            store.create(key, b"y")
        assert not store.exists(key)
    assert store.get("a") == b"x"


def test_an_object_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.create("a/b", b"x")
    with pytest.raises(InvalidInput, match="folder of other objects"):
        store.create("a", b"y")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file")
    store = FolderStore(tmp_path / "objects")
    for use in (store.list, store.get, store.exists, lambda key: store.create(key, b"")):
        with pytest.raises(StoreUnavailable, match=r"objects cannot be used.*object_store\.url"):
            use("a")


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StoreUnavailable, match=r"object_store\.url"):
        FolderStore(tmp_path / "file" / "objects").create("a", b"")


def test_a_disk_that_takes_nothing_is_named() -> None:
    store = FolderStore(Path("/proc/objects"))
    with pytest.raises(StoreUnavailable, match="free space"):
        store.create("a", b"")
