"""Items that come in a stream: the same states as over HTTP, the last message of an item stands."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import InvalidInput, NotReady, StoreUnavailable
from llmrec_ray.feedback.events import SqlEventStore, open_event_store
from llmrec_ray.items.log import ItemChange
from llmrec_ray.items.stream import Generations, items_handler
from llmrec_ray.settings import LimitSettings
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.streams.handlers import Handled, Handler
from llmrec_ray.types import Float32s, Item, Scope
from tests.unit.online.conftest import House

LIMITS = LimitSettings()


class Broken(HashingEmbedder):
    """An encoder that takes no text about the sea."""

    def passages(self, texts: Sequence[str]) -> Float32s:
        if any("sea" in text for text in texts):
            raise InvalidInput("the text is not valid Unicode.")
        return super().passages(texts)


class LostStore(FolderStore):
    """A folder that can go away."""

    lost = False

    def list(self, prefix: str) -> list[str]:
        if self.lost:
            raise StoreUnavailable("the folder is away.")
        return super().list(prefix)

    def exists(self, key: str) -> bool:
        if self.lost:
            raise StoreUnavailable("the folder is away.")
        return super().exists(key)

    def get(self, key: str) -> bytes:
        if self.lost:
            raise StoreUnavailable("the folder is away.")
        return super().get(key)


class Home:
    """An ingested catalogue, its item log, and a handler between the two and a stream."""

    def __init__(self, folder: Path, events: SqlEventStore) -> None:
        self.events = events
        self.objects = LostStore(folder / "objects")
        self.handle = self.handler(HashingEmbedder(64))

    def handler(self, embedder: HashingEmbedder) -> Handler:
        generations = Generations(self.objects, embedder.info)
        return items_handler(self.events.items, generations, embedder, LIMITS)

    def states(self) -> dict[str, ItemChange]:
        return {change.item_id: change for change in self.events.items.since(0)}

    def titles(self) -> dict[str, str | None]:
        """Of every item in the log its title, None where it is deleted."""
        return {name: one.item.title if one.item else None for name, one in self.states().items()}


@pytest.fixture
def home(tmp_path: Path, ingested: Path) -> Iterator[Home]:
    folder = Path(shutil.copytree(ingested, tmp_path / "home"))
    with open_event_store(f"sqlite:///{folder}/events.db", timeout_s=5, ttl_s=60) as events:
        yield Home(folder, events)


def put(item_id: str, title: str = "A title", **fields: object) -> bytes:
    return json.dumps({"item_id": item_id, "title": title, "fields": fields}).encode()


def gone(item_id: str) -> bytes:
    return json.dumps({"item_id": item_id, "deleted": True}).encode()


def test_items_are_put_and_deleted_in_one_batch(home: Home) -> None:
    bodies = [put("new", "New", plot="Of the sea.", genres=["sea"], year=2020), gone("f03")]
    assert home.handle([*bodies, put("f04", "Changed")]) == Handled(accepted=3)
    states = home.states()
    assert states["new"].item == Item(
        "new", "New", {"plot": "Of the sea.", "genres": ("sea",), "year": 2020.0}
    )
    assert home.titles() == {"new": "New", "f03": None, "f04": "Changed"}
    assert len(states["new"].vector) == 64 * 4


async def test_what_a_stream_put_and_deleted_is_so_on_every_shard(
    house: Callable[..., House],
) -> None:
    home = house(2)
    model = home.encoder.model
    generations = Generations(home.objects, model.info)
    handle = items_handler(home.events.items, generations, model, LIMITS)
    await asyncio.to_thread(handle, [put("new", "Zebra", plot="A zebra sails."), gone("f03")])
    for shard in home.shards:
        shard.catch_up()
    found = await home.recommender.search("zebra sails", "cosine", Scope(200))
    ids = [item.item_id for item in found.items]
    assert (ids[0], len(ids), "f03" in ids) == ("new", 40, False)


def test_the_same_message_again_changes_nothing(home: Home) -> None:
    bodies = [put("a", "A"), gone("b"), put("c", "C")]
    home.handle(bodies)
    before = home.states()
    assert home.handle(bodies) == Handled(duplicates=3)
    assert home.handle([put("a", "A"), put("a", "A")]) == Handled(duplicates=2)
    assert home.states() == before


def test_of_a_batch_the_last_message_of_an_item_stands(home: Home) -> None:
    bodies = [put("a", "First"), put("b", "B"), gone("a"), put("a", "Last"), put("a", "Last")]
    assert home.handle([*bodies, gone("b")]) == Handled(accepted=5, duplicates=1)
    assert home.titles() == {"a": "Last", "b": None}
    assert home.states()["a"].version == 1


def test_a_window_that_comes_again_ends_in_the_same_states(home: Home) -> None:
    first, second = [put("a", "First"), put("b", "B")], [put("a", "Second"), gone("b")]
    for batch in (first, second, first, second):
        home.handle(batch)
    assert home.titles() == {"a": "Second", "b": None}


def test_deleting_what_nobody_knows_is_stored_once(home: Home) -> None:
    assert home.handle([gone("nowhere")]) == Handled(accepted=1)
    assert home.handle([gone("nowhere")]) == Handled(duplicates=1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "JSON"),
        (put("a", colour="red"), "fields/colour is no field of the catalogue"),
        (put("a", year="1999"), "fields/year must be a number"),
        (put("a", title="\u200b"), "title says nothing"),
        (put("a", title="x" * 2_000), "title has 2000 characters"),
        (put("a", plot="x" * 10_000_000), "limits.body_bytes"),
        (b'{"item_id": "a"}', "needs a title, or deleted: true"),
        (b'{"item_id": "a", "title": "A", "deleted": true}', "neither title nor fields"),
        (b'{"item_id": "a", "title": "A", "version": 2}', "version: Extra inputs"),
        (b'{"item_id": "", "deleted": true}', "item_id: "),
    ],
    ids=range(10),
)
def test_poison_is_named_and_the_others_are_stored(home: Home, body: bytes, says: str) -> None:
    handled = home.handle([put("one", "One"), body, put("two", "Two")])
    assert home.titles() == {"one": "One", "two": "Two"}
    assert handled.accepted == 2
    assert list(handled.poison) == [1]
    assert handled.poison[1].startswith(("invalid_input: ", "too_large: "))
    assert says in handled.poison[1]


def test_poison_does_not_supersede_what_came_before_it(home: Home) -> None:
    home.handle([put("a", "Good"), put("a", "Bad", year="never")])
    assert home.titles() == {"a": "Good"}


def test_what_the_encoder_refuses_is_found_by_halving(home: Home) -> None:
    bodies = [put(f"i{number}", f"Title {number}") for number in range(7)]
    bodies[4] = put("i4", "The sea")
    handled = home.handler(Broken(64))(bodies)
    assert (handled.accepted, list(handled.poison)) == (6, [4])
    assert sorted(home.titles()) == ["i0", "i1", "i2", "i3", "i5", "i6"]


def test_without_a_generation_items_wait(home: Home, tmp_path: Path) -> None:
    empty = Generations(FolderStore(tmp_path / "empty"), HashingEmbedder(64).info)
    handle = items_handler(home.events.items, empty, HashingEmbedder(64), LIMITS)
    with pytest.raises(NotReady, match="generations activate"):
        handle([put("a")])


def test_a_generation_of_another_encoder_is_waited_out(home: Home) -> None:
    with pytest.raises(NotReady, match="was made with"):
        home.handler(HashingEmbedder(32))([put("a")])
    assert not home.states()


def test_while_the_object_store_is_away_the_generation_that_was_read_goes_on(home: Home) -> None:
    home.handle([put("a", "A")])
    home.objects.lost = True
    home.handle([put("b", "B")])
    assert home.titles() == {"a": "A", "b": "B"}
    with pytest.raises(StoreUnavailable):
        home.handler(HashingEmbedder(64))([put("c")])


CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([None, "Red", "Green", "Blue"])),
    min_size=1,
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(CHANGES, st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=20))
def test_however_a_stream_is_cut_and_read_again_the_last_message_of_each_item_stands(
    ingested: Path,
    changes: list[tuple[str, str | None]],
    steps: list[tuple[int, bool]],
) -> None:
    bodies = [gone(name) if title is None else put(name, title) for name, title in changes]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "objects").symlink_to(ingested / "objects")
        with open_event_store(f"sqlite:///{folder}/e.db", timeout_s=5, ttl_s=60) as events:
            home = Home(folder, events)
            acked = 0
            for size, crashed in [*steps, (len(bodies), False)]:
                home.handle(bodies[acked : acked + size])
                acked += 0 if crashed else size  # a crash before the ack: it comes again
            assert home.titles() == dict(changes)
