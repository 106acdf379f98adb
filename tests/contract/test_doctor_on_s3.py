"""`llmrec doctor` on a real S3 server: a good bucket, one that is missing, wrong credentials."""

import json
import uuid
from pathlib import Path

import pytest

from llmrec_ray.cli import main
from llmrec_ray.cli.checks import PROBES
from tests.contract.conftest import BUCKET
from tests.support.seaweed import ACCESS_KEY, SECRET_KEY, SeaweedServer

Row = dict[str, str]


def examined(
    folder: Path,
    endpoint: str,
    capsys: pytest.CaptureFixture[str],
    *,
    bucket: str = BUCKET,
    prefix: str = "",
) -> Row:
    """What doctor says of the object store there."""
    file = folder / "settings.yaml"
    url = f"s3://{bucket}/{prefix}"
    file.write_text(
        f"object_store: {{url: '{url}', endpoint: '{endpoint}', secure: false, timeout_s: 2}}\n"
        f"event_store: {{url: 'sqlite:///{folder}/events.db'}}\n"
    )
    with pytest.raises(SystemExit) as exited:
        main(["doctor", "--settings", str(file), "--output", "json"])
    assert exited.value.code == 1, "no generation is there at the best"
    rows: list[Row] = json.loads(capsys.readouterr().out)
    return next(row for row in rows if row["check"] == "object store")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_S3_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("LLMREC_S3_SECRET_KEY", SECRET_KEY)


def test_a_bucket_that_can_be_used_is_left_as_it_was(
    s3_server: SeaweedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = uuid.uuid4().hex
    row = examined(tmp_path, s3_server.endpoint, capsys, prefix=prefix)
    assert row["state"] == "ok", row
    assert s3_server.store(BUCKET, prefix).list(f"{PROBES}/") == []


def test_a_missing_bucket_is_named(
    s3_server: SeaweedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = examined(tmp_path, s3_server.endpoint, capsys, bucket="not-there", prefix="x")
    assert row["state"] == "fail"
    assert "no bucket 'not-there'" in row["says"]


def test_wrong_credentials_name_the_variables(
    s3_server: SeaweedServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLMREC_S3_SECRET_KEY", "a-wrong-secret-0123456789")
    row = examined(tmp_path, s3_server.endpoint, capsys, prefix="x")
    assert row["state"] == "fail"
    assert "LLMREC_S3_SECRET_KEY" in row["says"]
    assert "a-wrong-secret" not in row["says"]


def test_no_credentials_name_the_variables(
    s3_server: SeaweedServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LLMREC_S3_SECRET_KEY")
    row = examined(tmp_path, s3_server.endpoint, capsys, prefix="x")
    assert row["state"] == "fail"
    assert "LLMREC_S3_SECRET_KEY" in row["says"]


def test_an_endpoint_where_nobody_listens_is_named(
    free_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = examined(tmp_path, f"127.0.0.1:{free_port}", capsys, prefix="x")
    assert row["state"] == "fail"
    assert str(free_port) in row["says"]
