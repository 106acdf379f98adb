"""A server's command in, a process that answers out; what it says goes to a file of its folder."""

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LOOK_EVERY_S = 0.01


class ServerProcess:
    """The process of one server in a folder; it may be started and stopped again and again."""

    def __init__(self, folder: Path, name: str, *, ready_within_s: float) -> None:
        self._folder = folder
        self._name = name
        self._ready_within_s = ready_within_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Callable[[], Sequence[str]], ready: Callable[[], bool]) -> None:
        """Start it, its folder made before its command is, and wait until it is `ready`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{self._name}.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command(), cwd=self._folder, stdout=file, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + self._ready_within_s
        while not ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"{self._name} did not start; see {log}")
            time.sleep(LOOK_EVERY_S)

    def kill(self) -> None:
        """End it as a crash would; nothing where none runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; all are held until the last is found, so they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listens(port: int) -> bool:
    """Whether something on this machine takes connections at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
