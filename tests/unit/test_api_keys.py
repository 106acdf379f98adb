"""API keys: a list of hashes makes a ring that knows its keys, or an error that names the fault."""

import hashlib
import json
from pathlib import Path
from typing import cast

import pytest
import yaml

from llmrec_ray.api_keys import ApiKey, Keyring, KeyScope, load_keys, new_key, parse_keys
from llmrec_ray.cli import main
from llmrec_ray.errors import InvalidSettings

HASH = "sha256:" + "ab" * 32


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLMREC_API_KEYS", "LLMREC_API_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)


def entry(**changed: object) -> str:
    values = {"name": "shop", "scopes": ["read"], "hash": HASH} | changed
    return yaml.safe_dump([{name: value for name, value in values.items() if value is not None}])


def test_a_new_key_is_found_by_its_entry() -> None:
    key, listed = new_key("shop", ["read", "write"])
    ring = Keyring(parse_keys(listed, "keys"))
    found = ring.find(key)
    assert found is not None
    assert (found.name, found.scopes) == ("shop", {"read", "write"})
    assert key not in listed


def test_every_new_key_is_another() -> None:
    assert len({new_key("shop", ["read"])[0] for _ in range(100)}) == 100


def test_the_stored_hash_is_what_sha256sum_prints() -> None:
    key, listed = new_key("shop", ["read"])
    assert yaml.safe_load(listed)[0]["hash"] == "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def test_an_unknown_key_is_nobodys() -> None:
    ring = Keyring(parse_keys(new_key("shop", ["read"])[1], "keys"))
    assert ring.find(new_key("shop", ["read"])[0]) is None


@pytest.mark.parametrize("short", ["", "hunter2", "llmrec_", "llmrec_" + "é" * 43, "llmrec_\0" * 8])
def test_a_text_of_another_shape_is_no_key_even_where_its_hash_is_listed(short: str) -> None:
    digest = hashlib.sha256(short.encode()).digest()
    assert Keyring([ApiKey("weak", frozenset({"admin"}), digest)]).find(short) is None


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], {"read"}),
        (["write"], {"write"}),
        (["read", "write"], {"read", "write"}),
        (["admin"], {"read", "write", "admin"}),
    ],
)
def test_admin_includes_the_other_scopes(scopes: list[str], allowed: set[str]) -> None:
    (key,) = parse_keys(entry(scopes=scopes), "keys")
    every = cast("list[KeyScope]", ["read", "write", "admin"])
    assert {scope for scope in every if key.allows(scope)} == allowed


def test_json_is_taken_as_yaml_is() -> None:
    listed = json.dumps(yaml.safe_load(entry()))
    assert parse_keys(listed, "keys") == parse_keys(entry(), "keys")


def test_a_key_prints_without_its_hash() -> None:
    assert "ab" not in repr(parse_keys(entry(), "keys")).replace("abs", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a list"),
        ("[]", "holds no key"),
        ("name: shop", "must be a list"),
        ("[", "is not YAML or JSON .line 1"),
        ("[shop]", "entry 1: .*dictionary"),
        (entry(name=None), "entry 1, name: Field required"),
        (entry(scopes=None), "entry 1, scopes: Field required"),
        (entry(hash=None), "entry 1, hash: Field required"),
        (entry(scope="read"), "entry 1, scope: Extra inputs"),
        (entry(name="a b"), "entry 1, name: must be letters"),
        (entry(name="a\n"), "entry 1, name: must be letters"),
        (entry(name=7), "entry 1, name"),
        (entry(scopes=[]), "entry 1, scopes: List should have at least 1"),
        (entry(scopes="read"), "entry 1, scopes"),
        (entry(scopes=["root"]), r"entry 1, scopes\.0: .*'read', 'write' or 'admin'"),
        (entry(hash="md5:00"), "entry 1, hash: must be 'sha256:'"),
        (entry(hash="sha256:" + "AB" * 32), "lower-case"),
        (entry() + entry(hash="sha256:" + "cd" * 32), "entries 1 and 2 have the same name"),
        (entry() + entry(name="other"), "entries 1 and 2 have the same hash"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_with_its_fault_and_the_remedy(
    text: str, told: str
) -> None:
    with pytest.raises(InvalidSettings, match=told) as raised:
        parse_keys(text, "keys.yaml")
    assert "keys.yaml" in str(raised.value)
    assert "llmrec keys new" in str(raised.value)


@pytest.mark.parametrize("field", ["hash", "name", "key"])
def test_a_key_in_place_of_its_hash_is_refused_and_not_repeated(field: str) -> None:
    key, _ = new_key("shop", ["read"])
    with pytest.raises(InvalidSettings, match="Replace it") as raised:
        parse_keys(entry(**{field: key}), "keys.yaml")
    assert key not in str(raised.value)


def test_a_broken_list_is_not_repeated() -> None:
    with pytest.raises(InvalidSettings) as raised:
        parse_keys("[{hash: s3cret-that-was-typed", "keys.yaml")
    assert "s3cret" not in str(raised.value)
    assert raised.value.__suppress_context__


# ── where the list is ────────────────────────────────────────────────────────────────────────────


def test_without_a_list_no_key_is_asked_for() -> None:
    assert not Keyring(load_keys()).required


def test_the_list_is_in_the_environment_or_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMREC_API_KEYS", entry())
    from_environment = load_keys()
    monkeypatch.delenv("LLMREC_API_KEYS")
    (tmp_path / "keys.yaml").write_text(entry())
    monkeypatch.setenv("LLMREC_API_KEYS_FILE", str(tmp_path / "keys.yaml"))
    assert load_keys() == from_environment != ()


def test_an_empty_list_does_not_open_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_API_KEYS", "")
    with pytest.raises(InvalidSettings, match="LLMREC_API_KEYS"):
        load_keys()


def test_two_lists_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_API_KEYS", entry())
    monkeypatch.setenv("LLMREC_API_KEYS_FILE", "keys.yaml")
    with pytest.raises(InvalidSettings, match="unset one"):
        load_keys()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "keys.yaml"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("LLMREC_API_KEYS_FILE", str(file))
    with pytest.raises(InvalidSettings, match=r"keys\.yaml.*cannot be read"):
        load_keys()


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_a_key_and_prints_the_entry_that_knows_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", "new", "--name", "shop", "--scope", "read", "--scope", "write"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    (key,) = [line for line in printed.err.splitlines() if line.startswith("llmrec_")]
    found = Keyring(parse_keys(printed.out, "printed")).find(key)
    assert found is not None
    assert found.scopes == {"read", "write"}


@pytest.mark.parametrize("wrong", [["--name", "a b", "--scope", "read"], ["--name", "shop"]])
def test_the_command_refuses_a_bad_name_and_a_missing_scope(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", "new", *wrong])
    assert ended.value.code in {1, 2}


def test_the_command_shows_the_settings_without_any_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMREC_API_KEYS", entry())
    monkeypatch.delenv("LLMREC_SETTINGS", raising=False)
    with pytest.raises(SystemExit):
        main(["settings", "show", "--output", "json"])
    printed = capsys.readouterr().out
    assert "limits" in printed
    assert "sha256" not in printed
