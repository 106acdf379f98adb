"""What a shard holds: two generations, of which none goes that callers still ask for."""

from dataclasses import dataclass

import pytest

from llmrec_ray.generation.held import IN_USE_S, WAITS_S, Held


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def held(clock: Clock) -> Held[int]:
    return Held(clock)


def names(held: Held[int]) -> list[str]:
    return list(held.now())


def test_of_three_that_nobody_asks_for_the_oldest_goes(held: Held[int]) -> None:
    for number, name in enumerate("abc"):
        held.put(name, number)
    assert held.now() == {"b": 1, "c": 2}


def test_the_one_that_is_asked_for_stays_however_old_it_is(held: Held[int]) -> None:
    held.put("a", 0)
    held.put("b", 1)
    assert held.asked("a") == 0
    held.put("c", 2)
    assert names(held) == ["a", "c"]


def test_what_was_rolled_back_to_outlives_what_it_replaced(held: Held[int], clock: Clock) -> None:
    held.put("a", 0)
    held.put("bad", 1)
    held.asked("bad")
    clock.now += 1
    assert held.wanted("a")
    held.put("c", 2)
    assert names(held) == ["a", "c"]


def test_one_is_in_the_way_while_both_are_asked_for(held: Held[int], clock: Clock) -> None:
    held.put("a", 0)
    held.put("b", 1)
    held.asked("a")
    clock.now += 1
    held.asked("b")
    assert held.in_the_way("c") == "a"
    clock.now += IN_USE_S
    assert held.in_the_way("c") is None


def test_one_that_is_always_asked_for_keeps_a_new_one_out_for_a_while_only(
    held: Held[int], clock: Clock
) -> None:
    held.put("a", 0)
    held.put("b", 1)
    since = clock.now
    while clock.now < since + WAITS_S:
        held.asked("a")
        held.asked("b")
        assert held.in_the_way("c") == "a"
        clock.now += 1
    held.asked("b")
    assert held.in_the_way("c") is None
    held.put("c", 2)
    assert names(held) == ["b", "c"]
    held.asked("c")
    assert held.in_the_way("d") == "b", "the next one waits anew"


def test_nothing_is_in_the_way_of_what_is_held_or_has_room(held: Held[int]) -> None:
    held.put("a", 0)
    held.asked("a")
    assert held.in_the_way("b") is None
    held.put("b", 1)
    held.asked("b")
    assert held.in_the_way("b") is None
    assert not held.wanted("c")


def test_one_that_never_was_asked_for_is_not_in_the_way(held: Held[int]) -> None:
    held.put("a", 0)
    held.put("b", 1)
    held.asked("a")
    assert held.in_the_way("c") is None


def test_a_still_view_keeps_what_goes_and_counts_as_asking(held: Held[int]) -> None:
    held.put("a", 0)
    held.put("b", 1)
    still = held.still()
    still.asked("a")
    held.put("c", 2)
    assert names(held) == ["a", "c"]
    assert names(still) == ["a", "b"]
    assert still.asked("b") == 1


def test_what_is_gone_is_neither_found_nor_changed(held: Held[int]) -> None:
    held.put("a", 0)
    held.change("a", 7)
    held.change("gone", 8)
    assert held.now() == {"a": 7}
    assert held.asked("gone") is None
