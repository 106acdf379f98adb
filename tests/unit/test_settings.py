"""Settings: a file and the environment make one checked tree, or an error that names the fault."""

from pathlib import Path

import pytest

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import Settings, credentials, load_settings


def test_without_a_file_everything_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLMREC_SETTINGS", raising=False)
    assert load_settings() == Settings()


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("search: {shards: 3, deadline_s: 2}\n")
    monkeypatch.setenv("LLMREC_SEARCH__SHARDS", "5")
    found = load_settings(file).search
    assert (found.shards, found.deadline_s) == (5, 2)


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("users: {history: 7}\n")
    monkeypatch.setenv("LLMREC_SETTINGS", str(file))
    assert load_settings().users.history == 7


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"search: {shards: none}", "search.shards"),
        (b"search: {shard: 2}", "search.shard: Extra inputs"),
        (b"serach: {shards: 2}", "serach"),
        (b"search: {deadline_s: -1}", "search.deadline_s"),
        (b"search: [", "cannot read settings"),
        (b"- search", "mapping of sections"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_fault(
    tmp_path: Path, content: bytes, told: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidSettings, match=told):
        load_settings(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


def test_credentials_come_from_the_environment_or_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    monkeypatch.setenv("LLMREC_S3_ACCESS_KEY", "reader")
    monkeypatch.setenv("LLMREC_S3_SECRET_KEY_FILE", str(tmp_path / "secret"))
    found = credentials()
    assert (found.access_key, found.secret_key) == ("reader", "s3cret")
    assert "s3cret" not in repr(found)


def test_missing_credentials_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLMREC_S3_ACCESS_KEY", "LLMREC_S3_ACCESS_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidSettings, match="set LLMREC_S3_ACCESS_KEY or"):
        credentials()


def test_a_secret_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLMREC_S3_ACCESS_KEY", raising=False)
    monkeypatch.setenv("LLMREC_S3_ACCESS_KEY_FILE", "/nowhere/key")
    with pytest.raises(InvalidSettings, match="/nowhere/key"):
        credentials()
