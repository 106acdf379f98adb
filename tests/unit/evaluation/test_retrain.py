"""Training anew: compared on later events alone, and a worse generation stays unpublished."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llmrec_ray.errors import Conflict, GenerationNotFound, WorseGeneration
from llmrec_ray.evaluation.newer import newer
from llmrec_ray.evaluation.retrain import (
    FEWEST_USERS,
    Retrained,
    Trainer,
    described,
    live_generation,
    retrain,
)
from llmrec_ray.generation.activation import activate, current
from llmrec_ray.generation.published import list_generations, verify
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.local import FolderStore
from tests.support.training import HALF, LIKES, QUICK, Live, Scan, live

DEAF = LearningSettings(tune_maps=0, tune_mixes=0, event_weights={"like": 0.0})
"""A mistake in the settings: likes count for nothing."""


@pytest.fixture
def now(tmp_path: Path) -> Live:
    return live(tmp_path, users=60)


def trained(
    now: Live, learning: LearningSettings = QUICK, *, force: bool = False, activated: bool = True
) -> Retrained:
    trainer = Trainer(now.objects, live_generation(now.objects), learning, history=500)
    return retrain(
        trainer, now.objects, now.events, writer="the test", force=force, activated=activated
    )


def test_new_events_become_a_new_current_generation(now: Live) -> None:
    made = trained(now)
    active = current(now.objects)
    assert active is not None
    assert active.generation == made.manifest.generation != now.manifest.generation
    assert made.manifest.events == len(now.events.events)
    assert made.manifest.trained_until == max(event.time for event in now.events.events)
    assert made.comparison.users == 60


def test_items_and_text_vectors_are_those_of_the_live_generation(now: Live) -> None:
    made = trained(now).manifest
    assert (made.fields, made.encoder) == (now.manifest.fields, now.manifest.encoder)
    for before, after in zip(now.manifest.segments, made.segments, strict=True):
        assert before.objects["items"] == after.objects["items"]
        assert before.objects["text"] == after.objects["text"]
    assert not verify(now.objects, made.generation)


def test_the_passage_and_the_place_in_the_item_log_stay(now: Live) -> None:
    manifest = now.manifest.model_copy(update={"passage": "{title}!", "item_seq": 7})
    later = replace(live_generation(now.objects), manifest=manifest)
    draft = Trainer(now.objects, later, QUICK, history=500).train(now.events)
    assert (draft.passage, draft.item_seq) == ("{title}!", 7)


def test_a_worse_candidate_is_refused_and_leaves_nothing(now: Live) -> None:
    with pytest.raises(WorseGeneration, match=r"difference -0\.\d+.*--force"):
        trained(now, DEAF)
    assert list_generations(now.objects) == [now.manifest.generation]


def test_a_worse_candidate_is_published_by_force(now: Live) -> None:
    made = trained(now, DEAF, force=True)
    assert made.comparison.is_worse
    assert current(now.objects) == made.activation


def test_a_generation_can_be_published_without_making_it_current(now: Live) -> None:
    made = trained(now, activated=False)
    active = current(now.objects)
    assert active is not None
    assert made.activation is None
    assert active.generation == now.manifest.generation
    assert made.manifest.generation in list_generations(now.objects)


def test_a_generation_that_came_meanwhile_stays_current(now: Live) -> None:
    trainer = Trainer(now.objects, live_generation(now.objects), QUICK, history=500)
    meanwhile = activate(now.objects, now.manifest.generation, "another")
    with pytest.raises(Conflict, match=r"stays current\. Run this again"):
        retrain(trainer, now.objects, now.events, writer="the test")
    assert current(now.objects) == meanwhile
    made = trained(now).activation
    assert made
    assert made.number == meanwhile.number + 1


def test_too_few_users_with_later_events_skip_the_comparison(tmp_path: Path) -> None:
    few = live(tmp_path, users=FEWEST_USERS - 1)
    found = trained(few, DEAF).comparison
    assert found.difference is None
    assert f"{FEWEST_USERS - 1} users" in described(found)
    assert f"{FEWEST_USERS} are needed" in described(found)


def test_no_event_since_the_live_training_skips_the_comparison(now: Live) -> None:
    trained(now)
    newest = live_generation(now.objects)
    trainer = Trainer(now.objects, newest, DEAF, history=500)
    found = trainer.compare(now.events)
    assert (found.users, found.new_events, found.difference) == (0, 0, None)


def test_only_events_after_the_live_training_are_asked_for(now: Live) -> None:
    trainer = Trainer(now.objects, live_generation(now.objects), QUICK, history=500)
    found = newer(now.events, now.manifest.trained_until, trainer.ids, seed=1)
    assert now.manifest.trained_until == HALF
    cut = HALF + timedelta(hours=LIKES // 4)
    assert found.cut == cut
    assert found.events == len(now.events.events) // 2
    later = {(e.user_id, e.item_id) for e in now.events.events if e.time > cut}
    asked = {(ask.past.user_id, trainer.ids[code]) for ask in found.asks for code in ask.targets}
    assert asked == later
    for ask in found.asks:
        assert max(event.time for event in ask.past.events) <= cut


def test_dislikes_and_items_that_a_user_had_are_not_asked_for(now: Live) -> None:
    first, *_, last = (e for e in now.events.events if e.user_id == "u000")
    again = Scan((first, last, *(e for e in now.events.events if e.user_id == "u001")))
    ids = (first.item_id,)
    assert newer(again, HALF, ids, seed=1).asks == ()


def test_without_a_live_generation_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenerationNotFound, match="llmrec publish"):
        live_generation(FolderStore(tmp_path))
