"""Settings of streams: what cannot be meant is refused, and credentials stay outside the tree."""

from pathlib import Path

import pytest

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import StreamAccess, settings_of, stream_access

NAMES = ("LLMREC_STREAMS_USER", "LLMREC_STREAMS_PASSWORD", "LLMREC_STREAMS_TOKEN")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"url": "nats://ada:secret@broker:4222"}, "LLMREC_STREAMS_PASSWORD"),
        ({"dead_letters": "llmrec.events"}, "without end"),
        ({"items": "llmrec.events"}, "without end"),
        ({"items": "llmrec.dead"}, "without end"),
        ({"events": None}, "nothing to read"),
        ({"sasl": "GSSAPI"}, r"streams\.sasl"),
        ({"items": "llmrec.*"}, r"streams\.items"),
        ({"events": "llmrec.*"}, r"streams\.events"),
        ({"events": "llmrec.>"}, r"streams\.events"),
        ({"events": "two words"}, r"streams\.events"),
        ({"stream": "a.b"}, r"streams\.stream"),
        ({"consumer": ""}, r"streams\.consumer"),
        ({"batch": 0}, r"streams\.batch"),
        ({"metrics_port": 70_000}, r"streams\.metrics_port"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(values: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidSettings, match=told) as caught:
        settings_of({"streams": values})
    assert "secret" not in str(caught.value)


def test_the_subjects_that_are_read_are_those_that_are_named() -> None:
    assert settings_of({"streams": {"items": "in.items"}}).streams.subjects == (
        "llmrec.events",
        "in.items",
    )
    only = {"events": None, "items": "in.items"}
    assert settings_of({"streams": only}).streams.subjects == ("in.items",)


def test_without_credentials_none_are_shown() -> None:
    assert stream_access() == StreamAccess()


def test_a_token_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("LLMREC_STREAMS_TOKEN_FILE", str(tmp_path / "token"))
    assert stream_access() == StreamAccess(token="t0ken")
    assert "t0ken" not in repr(stream_access())


def test_a_user_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_STREAMS_USER", "ada")
    with pytest.raises(InvalidSettings, match="go together"):
        stream_access()


def test_a_file_of_a_secret_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_STREAMS_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(InvalidSettings, match="/nowhere/token"):
        stream_access()
