"""A proxy that can lose replies (the work is done, and the client never hears), or say 503."""

import contextlib
import socket
import threading
from typing import Self

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class LossyProxy:
    """Passes everything on to `upstream` (host:port); loses the next `lose(n)` replies.

    While it is `busy` it answers every request with 503, and passes nothing on.
    """

    def __init__(self, upstream: str) -> None:
        host, port = upstream.rsplit(":", 1)
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._to_lose = 0
        self._to_pass = 0
        self.busy = False
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def lose(self, replies: int, *, after: int = 0) -> None:
        """Lose so many replies, after so many that still come through."""
        self._to_lose, self._to_pass = replies, after

    @property
    def left_to_lose(self) -> int:
        return self._to_lose

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.busy:
                    source.sendall(BUSY)
                    return
                target.sendall(data)
        except OSError:
            pass
        finally:
            _close(source, target)

    def _answer(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self._loses():
                    return
                target.sendall(data)
        except OSError:
            pass
        finally:
            _close(source, target)

    def _loses(self) -> bool:
        with self._lock:
            if self._to_lose and self._to_pass:
                self._to_pass -= 1
                return False
            losing = self._to_lose > 0
            self._to_lose -= losing
            return losing


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
