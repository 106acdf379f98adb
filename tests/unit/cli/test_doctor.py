"""`llmrec doctor`: what it says of each thing that can be wrong, and its exit code."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llmrec_ray.cli import main
from llmrec_ray.cli.checks import PROBES
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.generation.activation import activate
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.storage.local import FolderStore
from tests.support.generations import draft

Doctor = Callable[..., "Told"]


@dataclass(frozen=True)
class Told:
    """The exit code, and state and words by check."""

    code: int
    state: dict[str, str]
    says: dict[str, str]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text(
        f"object_store: {{url: 'file://{tmp_path}/objects'}}\n"
        f"event_store: {{url: 'sqlite:///{tmp_path}/events.db'}}\n"
        "embedding: {model: hashing}\n"
    )
    return file


@pytest.fixture
def doctor(settings: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    def run(*arguments: str) -> Told:
        with pytest.raises(SystemExit) as exited:
            main(["doctor", "--settings", str(settings), "--output", "json", *arguments])
        rows = json.loads(capsys.readouterr().out)
        code = exited.value.code
        return Told(
            code if isinstance(code, int) else 0,
            {row["check"]: row["state"] for row in rows},
            {row["check"]: row["says"] for row in rows},
        )

    return run


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects", durable=False)


@pytest.fixture
def generation(store: FolderStore) -> str:
    """An active generation."""
    drafted = draft(10, 0)
    encoder = replace(drafted.encoder, hash=HashingEmbedder().info.hash)
    made = publish(store, replace(drafted, encoder=encoder)).generation
    activate(store, made, "test")
    return made


class Readiness(BaseHTTPRequestHandler):
    """Answers every GET as its server's `status` and `answer` say."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Service)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name there
        """Nothing: a test's output is no log."""


class Service(ThreadingHTTPServer):
    """What doctor asks."""

    status = 200
    answer = b"{}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def says(self, generation: str | None, waits_for: str | None = None) -> None:
        part = {"name": "shard-0", "ready": waits_for is None, "waits_for": waits_for}
        ready = generation is not None
        body = {"ready": ready, "generation": generation, "components": [part]}
        self.status, self.answer = 200 if ready else 503, json.dumps(body).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), Readiness)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_where_all_is_well_the_exit_code_is_zero(
    doctor: Doctor, generation: str, service: Service
) -> None:
    service.says(generation)
    told = doctor("--url", service.url)
    assert told.code == 0, told.says
    names = ("settings", "object store", "event store", "generation", "encoder", "service")
    assert told.state == dict.fromkeys(names, "ok")


def test_nothing_is_left_in_the_store(doctor: Doctor, store: FolderStore, generation: str) -> None:
    before = store.list("")
    assert doctor().says["generation"].startswith(generation)
    assert store.list("") == before
    assert store.list(f"{PROBES}/") == []


def test_the_table_names_every_check(
    settings: Path,
    generation: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["doctor", "--settings", str(settings)])
    shown = capsys.readouterr().out
    assert generation in shown
    for name in ("settings", "object store", "event store", "generation", "encoder"):
        assert name in shown


def test_settings_that_cannot_be_read_end_it(doctor: Doctor, settings: Path) -> None:
    settings.write_text("search: {shards: 0}")
    told = doctor()
    assert (told.code, told.state) == (1, {"settings": "fail"})
    assert "search.shards" in told.says["settings"]


def test_a_store_without_a_generation_says_how_to_publish(doctor: Doctor) -> None:
    told = doctor()
    assert told.code == 1
    assert told.state["generation"] == "fail"
    assert "llmrec publish" in told.says["generation"]
    assert told.state["encoder"] == "skipped"


def test_a_damaged_object_is_named(
    doctor: Doctor, store: FolderStore, generation: str, tmp_path: Path
) -> None:
    segment = load_manifest(store, generation).segments[0]
    key = next(iter(segment.objects.values())).key
    (tmp_path / "objects" / key).write_bytes(b"damaged")
    told = doctor()
    assert (told.code, told.state["generation"]) == (1, "fail")
    assert key in told.says["generation"]
    assert "--remove-damaged" in told.says["generation"]
    assert doctor("--no-objects").state["generation"] == "ok"


def test_a_manifest_that_is_gone_is_a_failure(
    doctor: Doctor, store: FolderStore, generation: str
) -> None:
    store.delete(f"generations/{generation}/manifest.json")
    told = doctor()
    assert (told.code, told.state["generation"]) == (1, "fail")
    assert generation in told.says["generation"]


@pytest.mark.usefixtures("generation")
def test_a_file_that_is_no_database_is_named(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"certainly no database " * 100)
    told = doctor()
    assert (told.code, told.state["event store"]) == (1, "fail")
    assert "no SQLite database" in told.says["event store"]
    assert told.state["generation"] == "ok"


def test_an_encoder_that_did_not_make_the_vectors_is_named(
    doctor: Doctor, settings: Path, generation: str, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    settings.write_text(settings.read_text().replace("hashing", str(model)))
    told = doctor()
    assert (told.code, told.state["encoder"]) == (1, "fail")
    assert generation in told.says["encoder"]
    assert "embedding.model" in told.says["encoder"]


@pytest.mark.usefixtures("generation")
def test_a_model_that_is_not_here_is_a_warning(doctor: Doctor, settings: Path) -> None:
    settings.write_text(settings.read_text().replace("hashing", "somebody/some-model"))
    told = doctor()
    assert (told.code, told.state["encoder"]) == (0, "warn")


def test_a_store_that_cannot_be_used_skips_what_is_in_it(
    doctor: Doctor, settings: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    settings.write_text(settings.read_text().replace("/objects", "/file"))
    told = doctor()
    assert (told.code, told.state["object store"]) == (1, "fail")
    assert told.state["generation"] == "skipped"


@pytest.mark.usefixtures("generation")
def test_a_service_that_is_down_is_named(doctor: Doctor, free_port: int) -> None:
    told = doctor("--url", f"http://127.0.0.1:{free_port}")
    assert (told.code, told.state["service"]) == (1, "fail")
    assert str(free_port) in told.says["service"]


@pytest.mark.usefixtures("generation")
def test_something_else_that_answers_is_told_from_the_service(
    doctor: Doctor, service: Service
) -> None:
    service.answer = b"<html>"
    told = doctor("--url", service.url)
    assert (told.code, told.state["service"]) == (1, "fail")
    assert "--url" in told.says["service"]


@pytest.mark.usefixtures("generation")
def test_a_service_that_waits_says_for_what(doctor: Doctor, service: Service) -> None:
    service.says(None, waits_for="a replica that answers")
    told = doctor("--url", service.url)
    assert (told.code, told.state["service"]) == (1, "fail")
    assert "shard-0 for a replica that answers" in told.says["service"]


def test_a_service_that_misses_a_part_is_a_warning(
    doctor: Doctor, service: Service, generation: str
) -> None:
    service.says(generation, waits_for="a replica that answers")
    told = doctor("--url", service.url)
    assert (told.code, told.state["service"]) == (0, "warn")


def test_a_service_on_another_generation_is_a_warning(
    doctor: Doctor, service: Service, generation: str
) -> None:
    service.says("g-another")
    told = doctor("--url", service.url)
    assert (told.code, told.state["service"]) == (0, "warn")
    assert generation in told.says["service"]
