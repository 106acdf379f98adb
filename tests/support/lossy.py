"""A TCP proxy that can lose replies: the server has done its work, and the client never hears."""

import contextlib
import socket
import threading
from typing import Self


class LossyProxy:
    """Passes everything on to `upstream` (host:port); loses the next `lose(n)` replies."""

    def __init__(self, upstream: str) -> None:
        host, port = upstream.rsplit(":", 1)
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._to_lose = 0
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def lose(self, replies: int) -> None:
        self._to_lose = replies

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
            losing = self._to_lose > 0
            self._to_lose -= losing
            return losing


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
