"""A shard: which rows it owns, which generations it holds, and what it says of others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmrec_ray.errors import Corrupt, GenerationMissing
from llmrec_ray.shard import Shard
from llmrec_ray.types import AnyOf, NearQuery, Scope
from tests.unit.online.conftest import House

MakeHouse = Callable[..., House]


def owned(shard: Shard, generation: str, items: list[str]) -> set[str]:
    return set(shard.lookup(generation, items)[0])


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 16, 100])
def test_every_item_is_on_exactly_one_shard(house: MakeHouse, shards: int) -> None:
    home = house()
    items = [f"f{n:02}" for n in range(39)] + ["films/a b"]
    group = [Shard(home.objects, n, shards) for n in range(shards)]
    for shard in group:
        shard.prepare(home.manifest)
    held = [owned(shard, home.manifest.generation, items) for shard in group]
    assert sum(map(len, held)) == len(items)
    assert set().union(*held) == set(items)


def test_a_shard_holds_the_two_newest_generations(house: MakeHouse) -> None:
    home = house()
    shard = home.shards[0]
    for name in ("g-second", "g-third"):
        shard.prepare(home.manifest.model_copy(update={"generation": name}))
    assert shard.held == ("g-second", "g-third")


def test_a_generation_that_is_not_held_is_named(house: MakeHouse) -> None:
    with pytest.raises(GenerationMissing, match="g-unknown"):
        house().shards[0].gather("g-unknown", ())


def test_a_truncated_object_is_refused_and_the_old_generation_kept(house: MakeHouse) -> None:
    home = house()
    ref = home.manifest.segments[0].objects["text"]
    stored = Path(home.folder / "objects" / ref.key)
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes()[:-10])
    newer = home.manifest.model_copy(update={"generation": "g-newer"})
    with pytest.raises(Corrupt, match=ref.hash):
        home.shards[0].prepare(newer)
    assert home.shards[0].held == (home.manifest.generation,)


@pytest.mark.parametrize("condition", [AnyOf("genres", ("ocean",)), None])
def test_a_filter_is_worked_out_once_and_never_changed_by_exclusions(
    house: MakeHouse, condition: AnyOf | None
) -> None:
    shard = house(shards=1).shards[0]
    generation = shard.held[0]
    vector = np.ones(64, np.float32)

    def found(exclude: frozenset[str]) -> list[str]:
        query = NearQuery(vector, "dot", Scope(40, condition, exclude))
        return [c.item_id for c in shard.near(generation, [query])[0]]

    everything = found(frozenset())
    assert found(frozenset(everything[:1])) == everything[1:]
    assert found(frozenset()) == everything
