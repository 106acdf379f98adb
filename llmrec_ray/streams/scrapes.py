"""A port in; what a process measures out, to whoever asks for `/metrics` there."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from llmrec_ray.errors import InvalidSettings

TYPE = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def exposed(text: Callable[[], str], host: str, port: int) -> Generator[int]:
    """Answer scrapes in threads until the block ends, and tell the port (0 chooses a free one).

    `InvalidSettings` where the address cannot be had.
    """

    class Answer(BaseHTTPRequestHandler):
        timeout = 10  # a client that says nothing does not keep its thread

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            body = text().encode() if found else b"metrics are at /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """A scrape is no event."""

    try:
        server = ThreadingHTTPServer((host, port), Answer)
    except OSError as cause:
        raise InvalidSettings(
            f"metrics cannot be shown at {host}:{port}: {cause.strerror or cause}. Change"
            " streams.metrics_host or streams.metrics_port, or leave the port out.",
            field="streams.metrics_port",
        ) from cause
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.05,), name="scrapes", daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
