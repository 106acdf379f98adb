"""What goes wrong with a database, and what is special about each of the two."""

import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from llmrec_ray.errors import EventStoreUnavailable, InvalidSettings
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.types import Coverage, Event, Recommendations, Shown
from tests.support.postgres import PostgresServer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "hunter2-very-secret"


def opened(url: str, timeout_s: float = 5) -> SqlEventStore:
    return open_event_store(url, timeout_s=timeout_s, ttl_s=60)


def click(event_id: str, user_id: str = "ada") -> Event:
    return Event(event_id, user_id, "i1", "click", NOON)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no database URL"),
        ("var/events.db", "no database URL"),
        (f"postgresql://u:{SECRET}@host:port/db", "no database URL"),
        (f"mysql://u:{SECRET}@host/db", "not known here, mysql"),
        (f"postgres://u:{SECRET}@host/db", "not known here, postgres"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_an_example(url: str, says: str):
    with pytest.raises(InvalidSettings, match=says) as caught:
        opened(url)
    assert "sqlite:///var/events.db" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg"])
def test_an_unreachable_server_is_unavailable_and_its_password_unseen(driver: str, free_port: int):
    url = f"{driver}://ada:{SECRET}@127.0.0.1:{free_port}/events?application_name=x"
    with pytest.raises(EventStoreUnavailable, match="cannot be reached") as caught:
        opened(url, timeout_s=2)
    assert f"127.0.0.1:{free_port}/events" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_password_is_named_and_not_shown(postgres_server: PostgresServer):
    postgres_server.guest("guest", "right")
    url = make_url(postgres_server.url()).set(username="guest", password=SECRET)
    with pytest.raises(EventStoreUnavailable, match="refuses the user name or") as caught:
        opened(url.render_as_string(hide_password=False))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_missing_database_is_named(postgres_server: PostgresServer):
    url = make_url(postgres_server.url()).set(database="nowhere")
    with pytest.raises(EventStoreUnavailable, match=r"nowhere .* does not exist"):
        opened(url.render_as_string(hide_password=False))


def test_a_server_that_dropped_every_connection_costs_no_call(postgres_server: PostgresServer):
    with opened(postgres_server.url()) as store:
        store.append([click("1")])
        postgres_server.drop_connections()
        assert store.user_version("ada") == 1
        postgres_server.drop_connections()
        assert store.append([click("2")]).user_versions == {"ada": 2}


def test_tables_of_a_newer_release_are_refused(event_store_url: str):
    opened(event_store_url).close()
    engine = create_engine(event_store_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 7"))
    engine.dispose()
    with pytest.raises(InvalidSettings, match="tables of version 7, and this release"):
        opened(event_store_url)


def test_tables_that_vanish_fail_the_check(event_store_url: str):
    with opened(event_store_url) as store:
        engine = create_engine(event_store_url)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE schema_version"))
        engine.dispose()
        with pytest.raises(EventStoreUnavailable):
            store.check()


def test_a_missing_folder_is_made(tmp_path: Path):
    opened(f"sqlite:///{tmp_path}/a/b/events.db").close()
    assert (tmp_path / "a/b/events.db").exists()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EventStoreUnavailable, match="Choose another path"):
        opened(f"sqlite:///{tmp_path}/file/events.db")


def test_a_path_that_is_a_folder_is_unavailable(tmp_path: Path):
    with pytest.raises(EventStoreUnavailable, match="cannot be opened"):
        opened(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_is_unavailable_and_stays_as_it_is(tmp_path: Path):
    file = tmp_path / "events.db"
    file.write_text("title,year\nHeat,1995\n" * 100)
    with pytest.raises(EventStoreUnavailable, match="no SQLite database"):
        opened(f"sqlite:///{file}")
    assert file.read_text().startswith("title,year")


def test_a_writer_that_stays_away_with_the_lock_makes_others_give_up(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/events.db"
    with opened(url, timeout_s=0.05) as store:
        store.append([click("1")])
        engine = create_engine(url)
        with engine.connect() as holder:
            holder.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(EventStoreUnavailable, match="kept it locked"):
                store.append([click("2")])
            assert store.user_version("ada") == 1
        engine.dispose()
        assert store.append([click("2")]).user_versions == {"ada": 2}


def test_sqlite_syncs_its_write_ahead_log_at_every_commit(tmp_path: Path):
    with (
        opened(f"sqlite:///{tmp_path}/events.db") as store,
        store._engine.connect() as connection,
    ):
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_an_erased_user_id_is_in_none_of_the_files(tmp_path: Path):
    name = "ada-lovelace-1815"
    with opened(f"sqlite:///{tmp_path}/events.db") as store:
        store.append([click(f"e{number}", name) for number in range(200)])
        store.append([click("other", "bob")])
        assert _found(name, tmp_path)
        store.erase(name)
        assert not _found(name, tmp_path)
        assert _found("bob", tmp_path)


def _found(word: str, folder: Path) -> bool:
    return any(word.encode() in file.read_bytes() for file in folder.iterdir())


def test_an_erased_events_number_is_not_given_out_again(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/events.db"
    with opened(url) as store:
        store.append([click("1"), click("2")])
        store.erase("ada")
        store.append([click("3")])
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT received FROM events")) == 3
    engine.dispose()


def test_tables_of_the_first_release_are_upgraded_and_keep_their_rows(event_store_url: str):
    with opened(event_store_url) as store:
        store.append([click("1"), click("2", "bob")])
        store.record([Shown("ada", Recommendations("r1", "g1", 1, (), Coverage(1, 1)))])
        store.erase("bob")
    engine = create_engine(event_store_url)
    with engine.begin() as connection:
        for table, column in (
            ("events", "user_version"),
            ("recommendations", "question"),
            ("recommendations", "vector"),
        ):
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        newer = ("erasures", "erased_recommendations", "readings", "live_items", "item_sequence")
        for table in newer:
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE schema_version SET version = 1"))
    engine.dispose()
    with opened(event_store_url) as store:
        store.check()
        assert store.append([click("3")]).user_versions == {"ada": 2}
        assert [one.event_id for one in store.history("ada", 9, at=1).events] == ["1"]
        assert [one.event_id for one in store.history("ada", 9, at=2).events] == ["3", "1"]
        assert store.shown("r1").question is None
        assert [one.event_key for one in store.erasures(0)] == [None]
