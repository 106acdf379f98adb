"""Activations: one number each, the highest is current, and a lost reply changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from llmrec_ray.errors import Corrupt, EncoderMismatch, GenerationNotFound, StoreUnavailable
from llmrec_ray.generation.activation import (
    activate,
    activation_key,
    current,
    history,
    require_encoder,
    rollback,
)
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import manifest_key
from llmrec_ray.ports import EncoderInfo, ObjectStore
from llmrec_ray.storage.local import FolderStore
from tests.support.generations import FaultyStore, draft


def published(store: ObjectStore, count: int) -> list[str]:
    return [publish(store, draft(10, seed)).generation for seed in range(count)]


def name_of_current(store: ObjectStore) -> str | None:
    found = current(store)
    return found.generation if found else None


def test_nothing_is_current_at_first(store: FolderStore) -> None:
    assert current(store) is None
    assert history(store) == []


def test_the_newest_activation_is_current(store: FolderStore) -> None:
    a, b = published(store, 2)
    numbers = [activate(store, name, "me").number for name in (a, b, a)]
    assert numbers == [1, 2, 3]
    assert name_of_current(store) == a
    assert [(each.number, each.generation, each.writer) for each in history(store)] == [
        (1, a, "me"),
        (2, b, "me"),
        (3, a, "me"),
    ]


def test_a_generation_that_was_not_published_is_not_activated(store: FolderStore) -> None:
    with pytest.raises(GenerationNotFound):
        activate(store, "g-000000000000", "me")
    assert history(store) == []


def test_racing_writers_get_a_number_each(store: FolderStore) -> None:
    names = published(store, 2)
    start = Barrier(8)

    def write(writer: int) -> int:
        start.wait()
        return activate(store, names[writer % 2], f"writer-{writer}").number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(write, range(8)))
    assert sorted(numbers) == list(range(1, 9))
    assert {each.number: each.writer for each in history(store)} == {
        number: f"writer-{writer}" for writer, number in enumerate(numbers)
    }


def test_a_lost_reply_to_a_write_that_went_through_is_an_activation(faulty: FaultyStore) -> None:
    (name,) = published(faulty, 1)
    faulty.fails_after = lambda key: key.startswith("activations/")
    made = activate(faulty, name, "me")
    assert made.number == 1
    assert history(faulty) == [made]


def test_a_write_that_did_not_go_through_is_an_error_and_no_activation(faulty: FaultyStore) -> None:
    (name,) = published(faulty, 1)
    faulty.fails_before = lambda key: key.startswith("activations/")
    with pytest.raises(StoreUnavailable):
        activate(faulty, name, "me")
    assert history(faulty) == []


def test_a_number_that_another_took_meanwhile_is_not_taken_over(faulty: FaultyStore) -> None:
    a, b = published(faulty, 2)

    def other_comes_first(key: str) -> bool:
        if key == activation_key(1):
            faulty.fails_before = lambda _: False
            activate(faulty.inner, b, "other")
        return False

    faulty.fails_before = other_comes_first
    assert activate(faulty, a, "me").number == 2
    assert [(each.generation, each.writer) for each in history(faulty)] == [(b, "other"), (a, "me")]


def test_rollback_names_the_generation_before_the_current_one(store: FolderStore) -> None:
    a, b = published(store, 2)
    for name in (a, b, b):
        activate(store, name, "me")
    made = rollback(store, "me")
    assert (made.number, made.generation) == (4, a)
    assert name_of_current(store) == a


def test_rollback_twice_leads_back_again(store: FolderStore) -> None:
    a, b = published(store, 2)
    activate(store, a, "me")
    activate(store, b, "me")
    rollback(store, "me")
    assert rollback(store, "me").generation == b


@pytest.mark.parametrize("activations", [0, 1, 2])
def test_rollback_needs_an_earlier_generation(store: FolderStore, activations: int) -> None:
    (name,) = published(store, 1)
    for _ in range(activations):
        activate(store, name, "me")
    with pytest.raises(GenerationNotFound, match="no earlier generation"):
        rollback(store, "me")


def test_rollback_to_a_generation_that_is_gone_changes_nothing(store: FolderStore) -> None:
    a, b = published(store, 2)
    activate(store, a, "me")
    activate(store, b, "me")
    store.delete(manifest_key(a))
    with pytest.raises(GenerationNotFound, match=a):
        rollback(store, "me")
    assert name_of_current(store) == b


def test_a_damaged_activation_is_named_and_a_new_one_heals_it(
    store: FolderStore, folder: Path
) -> None:
    (name,) = published(store, 1)
    activate(store, name, "me")
    (folder / activation_key(1)).write_text('{"number": 1')
    with pytest.raises(Corrupt, match=r"activations/00000001\.json.*Activate"):
        current(store)
    assert activate(store, name, "me").number == 2
    assert name_of_current(store) == name


def test_a_known_activation_is_current_until_a_newer_one_comes(store: FolderStore) -> None:
    a, b = published(store, 2)
    first = activate(store, a, "me")
    assert current(store, first) == first
    activate(store, b, "me")
    third = activate(store, a, "me")
    assert current(store, first) == third


def test_other_objects_among_the_activations_do_not_count(store: FolderStore) -> None:
    (name,) = published(store, 1)
    store.create("activations/readme.txt", b"?")
    store.create("activations/99999999.json.bak", b"?")
    assert activate(store, name, "me").number == 1


def test_an_encoder_that_made_the_vectors_fits(store: FolderStore) -> None:
    manifest = publish(store, draft())
    require_encoder(manifest, EncoderInfo("under another name", "0123456789abcdef", 4))


@pytest.mark.parametrize(
    "info",
    [EncoderInfo("other", "fedcba9876543210", 4), EncoderInfo("other", "0123456789abcdef", 8)],
)
def test_another_encoder_is_refused_with_both_names_and_what_to_do(
    store: FolderStore, info: EncoderInfo
) -> None:
    with pytest.raises(EncoderMismatch, match=r"hashing.*other.*ingest again"):
        require_encoder(publish(store, draft()), info)
