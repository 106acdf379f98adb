"""From a URL of the settings to a store; what is wrong with one is said before anything is sent."""

import sys
from pathlib import Path

import pytest

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.ports import ObjectStore
from llmrec_ray.settings import Credentials
from llmrec_ray.storage import open_store


def credentials() -> Credentials:
    return Credentials(access_key="an-access-key", secret_key="a-secret-key")


def no_credentials() -> Credentials:
    raise InvalidSettings("the object store needs credentials")


def opened(url: str, endpoint: str = "127.0.0.1:1", region: str = "us-east-1") -> ObjectStore:
    return open_store(
        url, endpoint=endpoint, secure=False, region=region, timeout_s=1, credentials=credentials
    )


@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_a_folder_of_this_machine_opens(tmp_path: Path, slashes: str) -> None:
    opened(f"file://{tmp_path}/objects{slashes}").create("a", b"x")
    assert (tmp_path / "objects" / "a").exists()


def test_a_relative_folder_opens_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened("file://var/objects").create("a", b"x")
    assert (tmp_path / "var" / "objects" / "a").exists()


def test_a_folder_needs_no_credentials(tmp_path: Path) -> None:
    open_store(
        f"file://{tmp_path}",
        endpoint="",
        secure=True,
        region="",
        timeout_s=1,
        credentials=no_credentials,
    ).list("")


def test_a_bucket_without_credentials_is_refused_at_once() -> None:
    with pytest.raises(InvalidSettings, match="needs credentials"):
        open_store(
            "s3://bucket",
            endpoint="127.0.0.1:1",
            secure=False,
            region="us-east-1",
            timeout_s=1,
            credentials=no_credentials,
        )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no object store"),
        ("objects", "no object store"),
        ("/var/objects", "no object store"),
        ("file:/var/objects", "no object store"),
        ("gs://bucket", "'gs'"),
        ("file://", "names no folder"),
        ("s3://", "names no folder or bucket"),
        ("s3:///prefix", "bucket"),
        ("s3://bucket/../other", "prefix"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://UPPER_CASE!/a", "bucket"),
        ("s3://bucket?versions", "bucket"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_the_forms_that_do(url: str, words: str) -> None:
    with pytest.raises(InvalidSettings, match=words) as caught:
        opened(url)
    assert "s3://bucket/prefix" in str(caught.value)


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1", "host:port", "127.0.0.1:1/path"])
def test_an_endpoint_that_is_no_host_and_port_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidSettings, match=r"object_store\.endpoint"):
        opened("s3://bucket", endpoint=endpoint)


def test_a_secret_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidSettings, match="LLMREC_S3_SECRET_KEY") as caught:
        opened("s3://key:a-secret@bucket/prefix")
    assert "a-secret" not in str(caught.value)


def test_nothing_shows_the_credentials_of_an_open_store() -> None:
    store = opened("s3://bucket/prefix")
    assert "bucket/prefix" in repr(store)
    assert "secret" not in repr(store)
    assert "access" not in repr(store)


def test_a_folder_is_opened_without_the_s3_library(tmp_path: Path) -> None:
    loaded = {name for name in sys.modules if name.split(".")[0] == "minio"}
    opened(f"file://{tmp_path}").list("")
    assert {name for name in sys.modules if name.split(".")[0] == "minio"} == loaded
