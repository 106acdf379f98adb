import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet
import pytest

from llmrec_ray.catalog.description import load_description
from llmrec_ray.catalog.events import CleanedEvents, read_events
from llmrec_ray.errors import InvalidCatalog
from llmrec_ray.schemas import EVENTS_SCHEMA

NOON = datetime(2020, 5, 1, 12, tzinfo=UTC)
HEADER = "u,i,v,t\n"
RATINGS = "type: rating\n  columns: {user: u, item: i, value: v, time: t}"
KNOWN = ["a", "b"]

Read = Callable[..., CleanedEvents]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write an event file and its description, and read it."""

    def call(data: str | bytes, name: str = "e.csv", *, more: str = RATINGS) -> CleanedEvents:
        (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
        described = tmp_path / "catalog.yaml"
        described.write_text(
            "files: items.csv\ncolumns: {id: id, title: title}\n"
            f"events:\n  files: {name}\n  {more}\n"
        )
        return read_events(load_description(described), KNOWN, tmp_path / "rejected.jsonl")

    return call


def rows(cleaned: CleanedEvents) -> list[dict[str, Any]]:
    return cleaned.events.to_pylist()


def ids(cleaned: CleanedEvents) -> list[str]:
    return cast("list[str]", cleaned.events["event_id"].to_pylist())


def test_a_row_becomes_an_event(read: Read) -> None:
    cleaned = read(HEADER + f"u1,a,4.5,{NOON.timestamp()}\n")
    (event,) = rows(cleaned)
    assert cleaned.events.schema == EVENTS_SCHEMA
    assert {name: event[name] for name in event if name != "event_id"} == {
        "user_id": "u1",
        "item_id": "a",
        "type": "rating",
        "value": 4.5,
        "text": None,
        "time": NOON,
    }


def test_every_format_gives_the_same_events(read: Read) -> None:
    second = int(NOON.timestamp())
    sink = pa.BufferOutputStream()
    table = pa.table({"u": [1, 2], "i": ["a", "b"], "v": [4, 5], "t": [second, second]})
    pyarrow.parquet.write_table(table, sink)
    read_each = [
        read(HEADER + f"1,a,4,{second}\n2,b,5,{second}\n"),
        read(f"u\ti\tv\tt\n1\ta\t4\t{second}\n2\tb\t5\t{second}\n", "e.tsv"),
        read("".join(json.dumps(row) + "\n" for row in table.to_pylist()), "e.jsonl"),
        read(sink.getvalue().to_pybytes(), "e.parquet"),
    ]
    assert all(each.events.equals(read_each[0].events) for each in read_each[1:])


@pytest.mark.parametrize(
    ("unit", "raw"),
    [
        ("seconds", "1588334400"),
        ("milliseconds", "1588334400000"),
        ("iso", "2020-05-01T12:00:00Z"),
        ("iso", "2020-05-01 14:00:00+02:00"),
        ("iso", "2020-05-01T12:00:00"),
    ],
)
def test_a_time_is_read_in_its_unit(read: Read, unit: str, raw: str) -> None:
    assert rows(read(HEADER + f"u,a,1,{raw}\n", more=f"time_unit: {unit}\n  {RATINGS}"))[0][
        "time"
    ] == (NOON)


def test_an_order_column_stands_for_time(read: Read) -> None:
    cleaned = read(
        "u,i,n\nu,a,1\nu,b,0\n", more="type: view\n  columns: {user: u, item: i, order: n}"
    )
    assert [row["time"].timestamp() for row in rows(cleaned)] == [1.0, 0.0]


def test_without_time_and_order_later_rows_are_later(read: Read) -> None:
    cleaned = read("u,i\nu,a\nu,b\n", more="type: view\n  columns: {user: u, item: i}")
    times = [row["time"] for row in rows(cleaned)]
    assert times == sorted(set(times))


def test_a_type_column_may_use_other_words(read: Read) -> None:
    more = "types: {buy: purchase}\n  columns: {user: u, item: i, type: k}"
    cleaned = read("u,i,k\nu,a,buy\nu,b,view\nu,a,stare\n", more=more)
    assert [row["type"] for row in rows(cleaned)] == ["purchase", "view"]
    assert cleaned.report.rejected == {"unknown event type": 1}


def test_a_review_keeps_its_cleaned_text(read: Read) -> None:
    more = "type: review\n  columns: {user: u, item: i, text: x}"
    cleaned = read("u,i,x\nu,a,<p>Fine &amp; good</p>\nu,a,\n", more=more)
    assert [row["text"] for row in rows(cleaned)] == ["Fine & good"]
    assert cleaned.report.rejected == {"review without text": 1}


# ── event ids ────────────────────────────────────────────────────────────────────────────────────

SOME = [f"u{n % 3},{'ab'[n % 2]},{n % 5},{n % 4}\n" for n in range(60)]


def test_derived_ids_are_unique_even_for_equal_rows(read: Read) -> None:
    found = ids(read(HEADER + "u,a,1,5\n" * 3 + "u,b,1,5\n"))
    assert len(set(found)) == 4


def test_derived_ids_are_the_same_on_every_reading_and_in_every_order(read: Read) -> None:
    first = ids(read(HEADER + "".join(SOME)))
    shuffled = random.Random(7).sample(SOME, len(SOME))
    assert ids(read(HEADER + "".join(SOME))) == first
    assert sorted(ids(read(HEADER + "".join(shuffled)))) == sorted(first)


def test_ids_of_a_column_are_kept_and_must_be_unique(read: Read) -> None:
    more = "type: view\n  columns: {user: u, item: i, event_id: e}"
    cleaned = read("e,u,i\ne1,u,a\ne2,u,a\ne1,u,b\n,u,b\n", more=more)
    assert ids(cleaned) == ["e1", "e2"]
    assert cleaned.report.rejected == {"duplicate event id": 1, "missing event id": 1}


# ── bad rows and files ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",a,1,5", "missing user id"),
        ("u,,1,5", "missing item id"),
        ("u,zzz,1,5", "unknown item"),
        (f"{'u' * 300},a,1,5", "user id over 256 characters"),
        ("u\x07,a,1,5", "control characters in the user id"),
        ("u,a,,5", "rating without a value"),
        ("u,a,good,5", "malformed value"),
        ("u,a,inf,5", "malformed value"),
        ("u,a,1,", "missing time"),
        ("u,a,1,soon", "malformed time"),
        ("u,a,1,-5", "time out of range (1970 to 2200)"),
        ("u,a,1,1588334400000", "time out of range (1970 to 2200)"),
        ("u,a,1,1e300", "time out of range (1970 to 2200)"),
        ("u,a,1", "wrong number of cells"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(
    read: Read, tmp_path: Path, row: str, reason: str
) -> None:
    cleaned = read(HEADER + row + "\nu,a,3,9\n")
    assert cleaned.report.rejected == {reason: 1}
    assert cleaned.report.kept == 1
    record = json.loads((tmp_path / "rejected.jsonl").read_text("utf-8"))
    assert (record["row"], record["reason"]) == (2, reason)


@pytest.mark.parametrize("raw", ["yesterday", "2020-13-01", "0001-01-01T00:00:00+23:00"])
def test_a_bad_iso_time_is_rejected(read: Read, raw: str) -> None:
    more = f"time_unit: iso\n  {RATINGS}"
    cleaned = read(HEADER + f"u,a,1,{raw}\nu,a,1,2020-01-01\n", more=more)
    assert cleaned.report.kept == 1


def test_only_events_on_unknown_items_are_an_error(read: Read) -> None:
    with pytest.raises(InvalidCatalog, match=r"every one of 2 rows was rejected \(2 for: unknown"):
        read(HEADER + "u,x,1,1\nu,y,1,1\n")


def test_a_missing_column_names_the_event_file(read: Read) -> None:
    with pytest.raises(InvalidCatalog, match=r"e\.csv, row 1: there is no column 'v'"):
        read("u,i,t\nu,a,1\n")


# ── item ids of another source ───────────────────────────────────────────────────────────────────

MAPPED = RATINGS + "\n  item_map: {files: map.csv, source: theirs, target: ours}"


def test_item_ids_are_translated_by_a_map(read: Read, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("theirs,ours\n10,a\n20,b\n30,\n")
    cleaned = read(HEADER + "u,20,1,1\nu,10,1,2\nu,30,1,3\nu,a,1,4\n", more=MAPPED)
    assert cleaned.events["item_id"].to_pylist() == ["b", "a"]
    assert cleaned.report.rejected == {"unknown item": 2}


def test_a_map_without_pairs_is_an_error(read: Read, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("theirs,ours\n10,\n")
    with pytest.raises(InvalidCatalog, match=r"events\.item_map: no pair of ids"):
        read(HEADER + "u,10,1,1\n", more=MAPPED)


def test_a_catalogue_without_events_has_none(tmp_path: Path) -> None:
    described = tmp_path / "catalog.yaml"
    described.write_text("files: items.csv\ncolumns: {id: id, title: title}\n")
    cleaned = read_events(load_description(described), KNOWN)
    assert cleaned.events.num_rows == 0
    assert cleaned.events.schema == EVENTS_SCHEMA
