"""User states: cached by version and generation, and the last known one while the store is away."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from llmrec_ray.errors import EventStoreUnavailable
from llmrec_ray.feedback.events import SqlEventStore
from llmrec_ray.feedback.rows import user_key
from llmrec_ray.local_shards import LocalShards
from llmrec_ray.online.users import Users
from llmrec_ray.ports import History
from llmrec_ray.types import Reading
from tests.unit.online.conftest import House

MakeHouse = Callable[..., House]


class Counting:
    """An event store that counts what is read of it, and can be away."""

    def __init__(self, store: SqlEventStore) -> None:
        self._store = store
        self.read = 0
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None
        """What else happens while the version, or the history, is being read."""

    def user_version(self, user_id: str) -> int:
        if self.away:
            raise EventStoreUnavailable("the database is away; try again shortly.")
        version = self._store.user_version(user_id)
        self.meanwhile()
        return version

    def history(self, user_id: str, limit: int) -> History:
        self.read += 1
        self.meanwhile()
        return self._store.history(user_id, limit)

    def readings(self, event_ids: Sequence[str], encoder: str, at: int) -> dict[str, Reading]:
        return self._store.readings(event_ids, encoder, at)


@pytest.fixture
def home(house: MakeHouse) -> House:
    return house()


@pytest.fixture
def store(home: House) -> Counting:
    return Counting(home.events)


@pytest.fixture
def users(home: House, store: Counting) -> Users:
    return Users(store, LocalShards(home.shards), history=500, cached=2)


async def test_a_history_is_read_once_a_user_version(
    home: House, store: Counting, users: Users
) -> None:
    first = await users.of("u0", home.manifest)
    assert await users.of("u0", home.manifest) is first
    home.events.append([home.did("u0", "f05")])
    assert (await users.of("u0", home.manifest)).state.user_version == 2
    assert store.read == 2


async def test_another_generation_is_gathered_anew(
    home: House, store: Counting, users: Users
) -> None:
    await users.of("u0", home.manifest)
    newer = home.manifest.model_copy(update={"generation": "g-newer"})
    for shard in home.shards:
        shard.prepare(newer)
    assert (await users.of("u0", newer)).generation == "g-newer"
    assert store.read == 2


async def test_a_vector_that_live_changes_left_as_it_was_needs_no_history(
    home: House, store: Counting, users: Users
) -> None:
    asker = await users.of("u0", home.manifest)
    again = await users.unmoved("u0", asker, home.manifest)
    assert again is not None
    assert again.state is asker.state
    assert await users.of("u0", home.manifest) is again
    assert store.read == 1


async def test_a_vector_that_live_changes_moved_is_forgotten(
    home: House, store: Counting, users: Users
) -> None:
    asker = replace(await users.of("u0", home.manifest), vector=np.ones(home.manifest.dim))
    assert await users.unmoved("u0", asker, home.manifest) is None
    await users.of("u0", home.manifest)
    assert store.read == 2


async def test_the_last_known_state_stands_in_for_a_lost_store(
    home: House, store: Counting, users: Users
) -> None:
    known = await users.of("u0", home.manifest)
    store.away = True
    again = await users.of("u0", home.manifest)
    assert again.state == known.state
    assert again.degraded == ("feedback",)
    stranger = await users.of("u1", home.manifest)
    assert (stranger.state.events, stranger.degraded) == ((), ("feedback",))


async def test_a_forgotten_user_is_not_remembered(
    home: House, store: Counting, users: Users
) -> None:
    await users.of("u0", home.manifest)
    users.forget("u0")
    store.away = True
    assert (await users.of("u0", home.manifest)).state.events == ()


async def test_a_user_who_is_forgotten_during_a_request_is_answered_as_before(
    home: House, store: Counting, users: Users
) -> None:
    known = await users.of("u0", home.manifest)
    store.meanwhile = lambda: users.forget("u0")
    assert await users.of("u0", home.manifest) is known


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_a_request_read_before_a_user_was_forgotten_is_not_remembered(
    home: House, store: Counting, users: Users, elsewhere: bool
) -> None:
    store.meanwhile = lambda: (
        users.forget_keys({user_key("u0")}) if elsewhere else users.forget("u0")
    )
    await users.of("u0", home.manifest)
    store.away = True
    assert (await users.of("u0", home.manifest)).state.events == ()


async def test_the_least_recent_user_makes_room(home: House, store: Counting, users: Users) -> None:
    for user in ("u0", "u1", "u2", "u0"):
        await users.of(user, home.manifest)
    assert store.read == 4
