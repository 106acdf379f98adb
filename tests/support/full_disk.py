"""A disk that is full: no file may grow beyond some bytes, so that real writes fail half way."""

import resource
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine, event


@contextmanager
def files_end_at(most: int) -> Generator[None]:
    """Every write of this process beyond so many bytes of a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def database_full(engine: Engine) -> Generator[None]:
    """SQLite says that the database or disk is full where its file would have to grow."""

    def limit(driver: object, _: object) -> None:
        driver.execute("PRAGMA max_page_count = 1")  # pyright: ignore[reportAttributeAccessIssue] SQLite keeps it at the size that the file has

    engine.dispose()
    event.listen(engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(engine, "connect", limit)
        engine.dispose()
