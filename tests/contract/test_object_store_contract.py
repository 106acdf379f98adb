"""What every object store promises, on a folder and on a real S3 server."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest

from llmrec_ray.errors import InvalidInput, NotFound
from llmrec_ray.ports import ObjectStore

WRITERS = 12


def race(writers: int, write: Callable[[int], bool]) -> list[bool]:
    """What each writer was told; all start at once."""
    start = Barrier(writers)

    def run(writer: int) -> bool:
        start.wait()
        return write(writer)

    with ThreadPoolExecutor(writers) as pool:
        return list(pool.map(run, range(writers)))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\xff\r\n" * 1000, bytes(range(256)) * 40_000],
    ids=["empty", "small", "10MB"],
)
def test_an_object_comes_back_byte_for_byte(object_store: ObjectStore, data: bytes) -> None:
    assert object_store.create("objects/ab/abcd.arrow", data)
    assert object_store.get("objects/ab/abcd.arrow") == data


def test_a_key_is_written_once(object_store: ObjectStore) -> None:
    assert object_store.create("activations/00000001.json", b"first")
    assert not object_store.create("activations/00000001.json", b"second")
    assert object_store.get("activations/00000001.json") == b"first"


def test_an_empty_object_is_not_written_over(object_store: ObjectStore) -> None:
    assert object_store.create("empty", b"")
    assert not object_store.create("empty", b"second")
    assert object_store.get("empty") == b""


def test_one_of_many_racing_writers_wins(object_store: ObjectStore) -> None:
    for number in range(5):
        key = f"activations/{number:08d}.json"
        won = race(WRITERS, lambda writer, key=key: object_store.create(key, b"%d" % writer))
        assert won.count(True) == 1
        assert object_store.get(key) == b"%d" % won.index(True)


def test_racing_writers_of_different_keys_all_win(object_store: ObjectStore) -> None:
    won = race(WRITERS, lambda writer: object_store.create(f"new/folder/{writer}", b"mine"))
    assert all(won)
    assert len(object_store.list("new/folder/")) == WRITERS


def test_a_key_exists_from_its_creation_to_its_deletion(object_store: ObjectStore) -> None:
    seen = [object_store.exists("a/b")]
    object_store.create("a/b", b"x")
    seen.append(object_store.exists("a/b"))
    object_store.delete("a/b")
    seen.append(object_store.exists("a/b"))
    assert seen == [False, True, False]


def test_a_deleted_key_can_be_written_again(object_store: ObjectStore) -> None:
    object_store.create("a/b", b"old")
    object_store.delete("a/b")
    assert object_store.create("a/b", b"new")
    assert object_store.get("a/b") == b"new"


def test_deleting_what_is_not_there_is_no_error(object_store: ObjectStore) -> None:
    object_store.delete("a/b")
    object_store.create("a/b", b"x")
    object_store.delete("a")
    assert object_store.exists("a/b")


def test_a_missing_object_is_named(object_store: ObjectStore) -> None:
    with pytest.raises(NotFound, match="generations/g-1/manifest"):
        object_store.get("generations/g-1/manifest.json")


def test_a_folder_of_keys_is_no_object(object_store: ObjectStore) -> None:
    object_store.create("a/b", b"x")
    assert not object_store.exists("a")
    with pytest.raises(NotFound):
        object_store.get("a")


def test_an_empty_store_lists_nothing(object_store: ObjectStore) -> None:
    assert object_store.list("") == []
    assert object_store.list("generations/") == []


def test_a_prefix_is_a_prefix_of_text_not_a_folder(object_store: ObjectStore) -> None:
    for key in ("a/b", "a/bc/d", "a/c", "ab", "b"):
        object_store.create(key, b"")
    assert object_store.list("a") == ["a/b", "a/bc/d", "a/c", "ab"]
    assert object_store.list("a/") == ["a/b", "a/bc/d", "a/c"]
    assert object_store.list("a/b") == ["a/b", "a/bc/d"]
    assert object_store.list("a/bc/d/") == []
    assert object_store.list("c") == []


def test_lists_are_sorted_and_longer_than_a_page(object_store: ObjectStore) -> None:
    keys = [f"activations/{number:08d}.json" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: object_store.create(key, b""), reversed(keys)))
    assert object_store.list("activations/") == keys


def test_stats_tell_size_and_time_of_every_key_with_the_prefix(object_store: ObjectStore) -> None:
    object_store.create("a/b", b"12345")
    object_store.create("a/c", b"")
    object_store.create("b", b"x")
    found = object_store.stats("a/")
    assert {key: stat.bytes for key, stat in found.items()} == {"a/b": 5, "a/c": 0}
    assert object_store.stats("c") == {}
    for stat in found.values():
        assert abs(stat.modified - datetime.now(UTC)) < timedelta(minutes=10)


def test_a_key_that_is_written_again_is_new_again(object_store: ObjectStore) -> None:
    object_store.create("a", b"1")
    first = object_store.stats("a")["a"].modified
    assert not object_store.create("a", b"2")
    assert object_store.stats("a")["a"].modified == first
    object_store.delete("a")
    object_store.create("a", b"3")
    assert object_store.stats("a")["a"].modified >= first


@pytest.mark.parametrize("key", ["字/電影 é.json", "a+b%20&c=#?;@:'(){}[]~!$,.x", "🎬/1"])
def test_keys_may_hold_any_text(object_store: ObjectStore, key: str) -> None:
    object_store.create(key, b"x")
    assert object_store.get(key) == b"x"
    assert object_store.list("") == [key]
    assert object_store.list(key[:1]) == [key]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "..",
        "../secret",
        "a/../../secret",
        "a/./b",
        "a//b",
        "a/",
        ".hidden/a",
        "a\\b",
        "a\x00b",
        "a\nb",
        "\ud800",
        "x" * 256,
        "x/" * 500 + "x",
    ],
)
def test_a_key_that_leads_elsewhere_is_refused(object_store: ObjectStore, key: str) -> None:
    for use in (
        object_store.get,
        object_store.exists,
        object_store.delete,
        lambda key: object_store.create(key, b""),
    ):
        with pytest.raises(InvalidInput):
            use(key)


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", ".", "a\x00"])
def test_a_prefix_that_leads_elsewhere_is_refused(object_store: ObjectStore, prefix: str) -> None:
    for use in (object_store.list, object_store.stats):
        with pytest.raises(InvalidInput):
            use(prefix)


def test_a_copy_sent_to_another_process_reads_the_same_objects(object_store: ObjectStore) -> None:
    object_store.create("a", b"x")
    copy = pickle.loads(pickle.dumps(object_store))
    assert copy.get("a") == b"x"
