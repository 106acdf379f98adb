"""`llmrec generations` and `llmrec settings`: what is printed, and the exit codes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from llmrec_ray.cli import main
from llmrec_ray.generation.activation import activate, current
from llmrec_ray.generation.leases import writing
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import list_generations, manifest_key
from llmrec_ray.storage.local import FolderStore
from tests.support.faults import pass_time
from tests.support.generations import draft


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, object]]:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(folder: Path) -> FolderStore:
    return FolderStore(folder, durable=False)


@pytest.fixture
def run(
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs the command line on a settings file that names the folder."""
    file = tmp_path / "settings.yaml"
    file.write_text(f"object_store: {{url: 'file://{folder}'}}\n")
    monkeypatch.setenv("LLMREC_SETTINGS", str(file))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("LLMREC_S3_ACCESS_KEY", raising=False)

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        printed = capsys.readouterr()
        code = exited.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run


def published(store: FolderStore, seed: int = 0) -> str:
    return publish(store, draft(10, seed)).generation


def test_a_store_without_generations_says_so(run: Run) -> None:
    ran = run("generations", "list")
    assert (ran.code, ran.out.strip()) == (0, "No generation was published yet.")
    assert run("generations", "list", "--output", "json").rows == []


def test_the_list_shows_every_generation_and_the_current_one(run: Run, store: FolderStore) -> None:
    a, b = published(store, 0), published(store, 1)
    activate(store, b, "test")
    rows = run("generations", "list", "--output", "json").rows
    assert {row["generation"]: row["current"] for row in rows} == {a: False, b: True}
    assert [(row["items"], row["events"], row["encoder"]) for row in rows] == [
        (10, 120, "hashing")
    ] * 2
    table = run("generations", "list")
    assert table.code == 0
    assert a in table.out
    assert b in table.out


def test_a_damaged_manifest_does_not_hide_the_others(
    run: Run, store: FolderStore, folder: Path
) -> None:
    a, b = published(store, 0), published(store, 1)
    (folder / manifest_key(a)).write_text("{")
    ran = run("generations", "list", "--output", "json")
    rows = {row["generation"]: row for row in ran.rows}
    assert ran.code == 0
    assert rows[a]["items"] is None
    assert rows[b]["items"] == 10


def test_a_generation_is_shown_as_a_table_or_as_its_manifest(run: Run, store: FolderStore) -> None:
    name = published(store)
    assert (
        json.loads(run("generations", "show", name, "--output", "json").out)["generation"] == name
    )
    shown = run("generations", "show", name).out
    assert "hashing, 4 dimensions" in shown
    assert "text (4 dimensions), neighbours, popularity" in shown


def test_activate_and_rollback_change_what_is_current(run: Run, store: FolderStore) -> None:
    a, b = published(store, 0), published(store, 1)
    assert run("generations", "activate", a, "--output", "json").rows[0]["number"] == 1
    assert run("generations", "activate", b).code == 0
    (row,) = run("generations", "rollback", "--output", "json").rows
    assert (row["number"], row["generation"]) == (3, a)
    active = current(store)
    assert active is not None
    assert active.generation == a


def test_a_sound_generation_verifies(run: Run, store: FolderStore) -> None:
    name = published(store)
    ran = run("generations", "verify", name)
    assert (ran.code, ran.out) == (
        0,
        f"{name}: every object is there and matches its checksum.\n",
    )


def test_without_a_name_the_current_generation_is_verified(run: Run, store: FolderStore) -> None:
    name = published(store)
    assert run("generations", "verify").code == 1
    activate(store, name, "test")
    assert name in run("generations", "verify").out


def test_damage_is_listed_removed_on_demand_and_restored_by_a_publish(
    run: Run, store: FolderStore, folder: Path
) -> None:
    manifest = publish(store, draft(10))
    name, key = manifest.generation, manifest.segments[0].objects["text"].key
    (folder / key).write_bytes((folder / key).read_bytes()[:-1])

    found = run("generations", "verify", name, "--output", "json")
    assert (found.code, [row["object"] for row in found.rows]) == (1, [key])
    assert "--remove-damaged" in found.err

    removed = run("generations", "verify", name, "--remove-damaged")
    assert removed.code == 1
    assert not store.exists(key)

    publish(store, draft(10))
    assert run("generations", "verify", name).code == 0


@pytest.mark.parametrize("command", ["show", "activate", "verify"])
def test_an_unknown_generation_is_one_line_with_a_remedy(run: Run, command: str) -> None:
    ran = run("generations", command, "g-000000000000")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("error: no generation 'g-000000000000' was published")
    assert "llmrec generations list" in ran.err


def test_rollback_without_an_earlier_generation_is_an_error(run: Run, store: FolderStore) -> None:
    activate(store, published(store), "test")
    ran = run("generations", "rollback")
    assert ran.code == 1
    assert "no earlier generation" in ran.err


def test_gc_shows_and_deletes_only_with_yes(run: Run, store: FolderStore, folder: Path) -> None:
    names = [published(store, seed) for seed in range(4)]
    for name in names:
        activate(store, name, "test")
    pass_time(folder, timedelta(days=2))
    (shown,) = run("generations", "gc", "--keep", "2", "--output", "json").rows
    assert sorted(str(shown["generations"]).split(", ")) == sorted(names[:2])
    assert shown["deleted"] is False
    assert list_generations(store) == sorted(names)
    assert "--yes" in run("generations", "gc", "--keep", "2").err

    (row,) = run("generations", "gc", "--keep", "2", "--yes", "--output", "json").rows
    assert row == shown | {"deleted": True}
    assert list_generations(store) == sorted(names[2:])
    again = run("generations", "gc", "--keep", "2", "--yes")
    assert (again.code, again.out) == (0, "There is nothing to delete.\n")


@pytest.mark.parametrize("wrong", [("--keep", "0"), ("--grace-hours", "0.5")])
def test_gc_keeps_at_least_the_current_one_and_an_hour(run: Run, wrong: tuple[str, str]) -> None:
    assert run("generations", "gc", *wrong).code == 2


def test_gc_beside_a_publish_is_one_line_with_a_remedy(
    run: Run, store: FolderStore, folder: Path
) -> None:
    for seed in (0, 1):
        activate(store, published(store, seed), "test")
    pass_time(folder, timedelta(days=2))
    with writing(store):
        ran = run("generations", "gc", "--keep", "1", "--yes")
    assert ran.code == 1
    assert ran.err.startswith("error: a publish or an activation is under way")
    assert ran.err.count("\n") == 1
    assert len(list_generations(store)) == 2


def test_a_bucket_without_credentials_names_the_variables(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "s3.yaml"
    file.write_text("object_store: {url: 's3://bucket/prefix'}\n")
    ran = run("generations", "list", "--settings", str(file))
    assert ran.code == 1
    assert "LLMREC_S3_ACCESS_KEY" in ran.err


@pytest.mark.parametrize("content", ["search: {shards: 0}", "search: [", "nothing: 1"])
def test_settings_that_cannot_be_used_are_one_line(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    ran = run("settings", "show", "--settings", str(file))
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_settings_that_are_not_there_are_named(run: Run, tmp_path: Path) -> None:
    ran = run("generations", "list", "--settings", str(tmp_path / "none.yaml"))
    assert ran.code == 1
    assert "none.yaml" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("generations", "show"),
        ("generations", "list", "--output", "xml"),
        ("generations", "burn"),
        ("nonsense",),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


@pytest.mark.parametrize("output", ["table", "json"])
def test_settings_are_shown_without_passwords(
    run: Run, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.setenv("LLMREC_EVENT_STORE__URL", "postgresql://me:p@ss/w:rd@host:5432/events")
    monkeypatch.setenv("LLMREC_S3_SECRET_KEY", "a-secret-key")
    ran = run("settings", "show", "--output", output)
    assert ran.code == 0
    assert "postgresql://me:…@host:5432/events" in ran.out
    assert "rd@" not in ran.out
    assert "a-secret-key" not in ran.out


def test_settings_show_what_the_environment_overrides(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMREC_SEARCH__SHARDS", "7")
    assert json.loads(run("settings", "show", "--output", "json").out)["search"]["shards"] == 7
