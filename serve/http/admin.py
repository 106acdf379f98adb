"""The admin routes as an application of their own, on a port of their own."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import HttpSettings

DRAIN_S = 2


def open_admin_port(http: HttpSettings) -> socket.socket | None:
    """The admin port, bound; None where `http.admin_port` is not set.

    The ingress replicas of a node share the port (SO_REUSEPORT): each of them can answer. Raises
    `InvalidSettings` where another program has it.
    """
    if http.admin_port is None:
        return None
    family = socket.AF_INET6 if ":" in http.admin_host else socket.AF_INET
    port = socket.socket(family, socket.SOCK_STREAM)
    try:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port.bind((http.admin_host, http.admin_port))
    except OSError as cause:
        port.close()
        raise InvalidSettings(
            f"cannot listen on {http.admin_host}:{http.admin_port} ({cause.strerror}): set"
            " http.admin_port to a free port and http.admin_host to an address of this machine, or"
            " leave http.admin_port out to have the admin routes on the service's own port.",
            field="http.admin_port",
        ) from cause
    return port


async def serve_admin(app: ASGIApp, port: socket.socket) -> None:
    """Answer on the port until cancelled."""
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    serving = asyncio.create_task(server.serve([port]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
        port.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # the process' signals are its owner's to answer: Ray's, in a replica
