"""Rules: every kind of question is asked, and its answer compared with the naive one."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import ItemNotFound, NotReady
from llmrec_ray.types import (
    AnyOf,
    Event,
    Metric,
    Recommendations,
    RecommendRequest,
    Scope,
    SessionItem,
)
from tests.support.machine.drawn import GENRES, ITEMS, LIMITS, METRICS, SESSIONS, TEXTS
from tests.support.machine.state import State
from tests.support.naive import TEXT_DIM, WORTH, Catalogue, folded, same_ranking

START = datetime(2026, 1, 1, tzinfo=UTC)


class QuestionRules(State):
    """Recommendations, searches, similar items, items, and events that are told."""

    @rule(session=SESSIONS, text=st.none() | TEXTS, limit=LIMITS, genre=GENRES)
    def recommend(
        self, session: list[tuple[str, float]], text: str | None, limit: int, genre: str | None
    ) -> None:
        self.count("recommend")
        request = RecommendRequest(
            session=tuple(SessionItem(*pair) for pair in session),
            text=text,
            limit=limit,
            filter=AnyOf("genre", (genre,)) if genre else None,
        )
        vector = _vector(text) if text else None
        self._compare(
            self.service.recommender.recommend(request),
            lambda catalogue: catalogue.scores(folded(session), vector),
            limit,
            genre,
            {item_id for item_id, _ in session},
        )

    @rule(user=st.sampled_from(["u1", "u2"]), limit=LIMITS)
    def recommend_to_a_user(self, user: str, limit: int) -> None:
        if len(set(self.service.positions(self.serving_name or ""))) > 1:
            return  # what is remembered of a user may be of before one shard caught up
        self.count("recommend to a user")
        events = self.events.get(user, [])
        self._compare(
            self.service.recommender.recommend(RecommendRequest(user_id=user, limit=limit)),
            lambda catalogue: catalogue.scores(folded(events)),
            limit,
            None,
            {item_id for item_id, _ in events},
        )

    @rule(text=TEXTS, metric=METRICS, limit=LIMITS, genre=GENRES)
    def search(self, text: str, metric: Metric, limit: int, genre: str | None) -> None:
        self.count("search")
        scope = Scope(limit, AnyOf("genre", (genre,)) if genre else None)
        self._compare(
            self.service.recommender.search(text, metric, scope),
            lambda catalogue: catalogue.nearest(_vector(text), metric),
            limit,
            genre,
            set(),
            steep=metric == "euclidean",
        )

    @rule(item_id=ITEMS, metric=METRICS, limit=LIMITS)
    def similar(self, item_id: str, metric: Metric, limit: int) -> None:
        self.count("similar")
        asked = self.service.recommender.similar(item_id, metric, Scope(limit))
        catalogue = self.visible()
        if catalogue is not None and item_id not in catalogue.items:
            with pytest.raises(ItemNotFound):
                asyncio.run(asked)
            return
        self._compare(
            asked,
            lambda seen: seen.nearest(seen.items[item_id].text, metric),
            limit,
            None,
            {item_id},
            steep=metric == "euclidean",
        )

    @precondition(lambda self: self.serving is not None)
    @rule(item_id=ITEMS)
    def item(self, item_id: str) -> None:
        self.count("item")
        catalogue = self.visible()
        assert catalogue is not None
        expected = catalogue.items.get(item_id)
        try:
            _, found = asyncio.run(self.service.recommender.item(item_id))
        except ItemNotFound:
            assert expected is None
            return
        assert expected is not None
        assert (found.title, found.fields.get("genre")) == (expected.title, expected.genre)

    @precondition(lambda self: self.serving is not None)
    @rule(user=st.sampled_from(["u1", "u2"]), item_id=ITEMS, kind=st.sampled_from(["like", "view"]))
    def learn(self, user: str, item_id: str, kind: Any) -> None:
        self.count("event")
        self.told += 1
        time = START + timedelta(minutes=self.told)
        event = Event(f"e{self.told:06}", user, item_id, kind, time)
        learned = asyncio.run(self.service.recommender.learn([event]))
        catalogue = self.visible()
        assert catalogue is not None
        just_put = self.newest(item_id)  # perhaps not on its shard yet
        known = item_id in catalogue.items or (just_put is not None and just_put.item is not None)
        assert learned.accepted == known
        if learned.accepted:
            self.events.setdefault(user, []).append((item_id, WORTH[kind]))

    def _compare(
        self,
        asked: Coroutine[Any, Any, Recommendations],
        scores: Callable[[Catalogue], dict[str, float]],
        limit: int,
        genre: str | None,
        excluded: set[str],
        *,
        steep: bool = False,
    ) -> None:
        """Distances, being roots and so steep near zero, are compared by their squares."""
        catalogue = self.visible()
        if catalogue is None:
            with pytest.raises(NotReady):
                asyncio.run(asked)
            return
        answer = asyncio.run(asked)
        assert answer.generation == self.serving_name
        assert answer.coverage.complete
        assert answer.coverage.delta_seq == min(self.service.positions(answer.generation))
        told = [(item.item_id, item.score) for item in answer.items]
        assert [item.rank for item in answer.items] == list(range(1, len(told) + 1))
        assert all(item.title == catalogue.items[item.item_id].title for item in answer.items)
        allowed = {
            item_id
            for item_id, item in catalogue.items.items()
            if item_id not in excluded and genre in {None, item.genre}
        }
        expected = scores(catalogue)
        if steep:
            told = [(item_id, -(score**2)) for item_id, score in told]
            expected = {item_id: -(score**2) for item_id, score in expected.items()}
        assert same_ranking(told, expected, allowed, limit), told
        self.meet("answers compared")
        if self.service.coded(answer.generation):
            self.meet("answers through codes")


def _vector(text: str) -> np.ndarray:
    return HashingEmbedder(dim=TEXT_DIM).queries([text])[0]
