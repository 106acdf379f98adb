"""locust with two workers, against a small HTTP server: one result, one verdict."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from loadtest.ids import Ids

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
ANSWER = {
    "generation": "g-1",
    "items": [
        {"item_id": "i1", "score": 2.0, "rank": 1, "prior": 1.5, "evidence": [{"share": 0.5}]}
    ],
    "coverage": {"shards_ok": 1, "shards_total": 1},
    "degraded": [],
}


class Stub(BaseHTTPRequestHandler):
    """Answers every recommendation alike; user `broken` gets a server error."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._say(500 if asked.get("user_id") == "broken" else 200, ANSWER)

    def do_GET(self) -> None:
        self._say(200, {"generations": ["g-1"]})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class names it
        """Say nothing."""

    def _say(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def distributed(url: str, folder: Path, port: int, reader: str) -> tuple[int, dict[str, Any]]:
    """Two workers and a master for five seconds: the master's exit code, and the result."""
    if find_spec("locust") is None:  # importing it would patch this process' sockets and threads
        pytest.skip("locust is not installed: pip install --no-deps -r requirements/load.txt")
    Ids((reader,), ("load-0",), ("i1",), ("Title",)).write(folder / "ids.json")
    common = [
        *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
        *("--ids", str(folder / "ids.json")),
    ]
    master = [
        *(*common, "--host", url, "--master", "--expect-workers", "2"),
        *("--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)),
        *("--result", str(folder / "result.json"), "--arrivals", "60", "--seconds", "5"),
        *("--html", str(folder / "result.html"), "Recommend", "Evidence"),
    ]
    worker = [*common, "--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in (master, worker, worker)
    ]
    try:
        code = processes[0].wait(90)
        for each in processes[1:]:
            each.wait(20)
    finally:
        for each in processes:
            each.kill()
            each.wait()
    assert (folder / "result.html").exists()
    return code, json.loads((folder / "result.json").read_text("utf-8"))


def test_the_counts_of_two_workers_come_together(url: str, tmp_path: Path, free_port: int) -> None:
    code, result = distributed(url, tmp_path, free_port, "u1")
    calls = {name: kind["calls"] for name, kind in result["kinds"].items()}
    assert set(calls) == {"recommend", "evidence"}
    assert sum(calls.values()) > 100
    assert result["reasons"] == {}
    assert code == 0


def test_a_failure_at_a_worker_fails_the_run(url: str, tmp_path: Path, free_port: int) -> None:
    code, result = distributed(url, tmp_path, free_port, "broken")
    assert all(kind["failed"] == kind["calls"] > 0 for kind in result["kinds"].values())
    assert set(result["reasons"]) == {"recommend: status 500", "evidence: status 500"}
    assert code == 1
