"""Rules: items are put, patched and deleted live, shards catch up when they do, compact folds."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from llmrec_ray.catalog.live import Given, ItemDraft
from llmrec_ray.catalog.text import item_passage
from llmrec_ray.compaction import compact
from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.errors import InvalidInput, ItemNotFound, VersionConflict
from llmrec_ray.items.log import ItemWrite, Written
from llmrec_ray.types import Item
from tests.support.faults import FaultAt, How
from tests.support.machine.drawn import AT, EXPECTED, GENRES, HOWS, ITEMS, TITLES
from tests.support.machine.state import Change, Published, State
from tests.support.naive import MODEL, PASSAGE, TEXT_DIM, Catalogue, LiveItem

DRAFTS = st.lists(
    st.tuples(ITEMS, TITLES, GENRES, EXPECTED),
    min_size=1,
    max_size=3,
    unique_by=lambda draft: draft[0],
)


class ItemRules(State):
    """Live items: what is acknowledged is found once its shard has caught up, and never lost."""

    @precondition(lambda self: self.serving is not None)
    @rule(drafts=DRAFTS)
    def put(self, drafts: list[tuple[str, str, str | None, int | None]]) -> None:
        self.count("put items")
        asked = self.service.live.put(
            [
                ItemDraft(item_id, title, {"genre": genre}, expected)
                for item_id, title, genre, expected in drafts
            ]
        )
        if any(self._refuses(item_id, expected) for item_id, _, _, expected in drafts):
            self._nothing_is_stored(asked, VersionConflict)
            return
        assert asyncio.run(asked) == [
            self._written(item_id, live(item_id, title, genre))
            for item_id, title, genre, _ in drafts
        ]

    @precondition(lambda self: self.serving is not None)
    @rule(item_id=ITEMS, title=st.none() | TITLES, genre=GENRES, expected=EXPECTED)
    def patch(
        self, item_id: str, title: str | None, genre: str | None, expected: int | None
    ) -> None:
        self.count("patch an item")
        fields: dict[str, Given] = {} if genre is None else {"genre": genre}
        asked = self.service.live.patch(item_id, title=title, fields=fields, expected=expected)
        before = self._stands(item_id)
        if before is None:
            self._nothing_is_stored(asked, ItemNotFound)
        elif self._refuses(item_id, expected):
            self._nothing_is_stored(asked, VersionConflict)
        else:
            after = live(item_id, title or before[0], genre or before[1])
            assert asyncio.run(asked) == self._written(item_id, after)

    @precondition(lambda self: self.serving is not None)
    @rule(item_id=ITEMS, expected=EXPECTED)
    def delete(self, item_id: str, expected: int | None) -> None:
        self.count("delete an item")
        asked = self.service.live.delete(item_id, expected)
        if self._stands(item_id) is None and self.newest(item_id) is None:
            self._nothing_is_stored(asked, ItemNotFound)
        elif self._refuses(item_id, expected):
            self._nothing_is_stored(asked, VersionConflict)
        else:
            assert asyncio.run(asked) == self._written(item_id, None)

    @rule(item_id=ITEMS, title=TITLES, genre=GENRES, dim=st.sampled_from([TEXT_DIM, TEXT_DIM + 2]))
    def put_by_another_encoder(self, item_id: str, title: str, genre: str | None, dim: int) -> None:
        self.count("put an item, another encoder")
        other = HashingEmbedder(dim)
        item = Item(item_id, title, {} if genre is None else {"genre": genre})
        vector = other.queries(["another vector"])[0].tobytes()
        written = self.service.log.write([ItemWrite(item_id, item, vector, "another encoder")])
        strange = replace(live(item_id, title, genre), strange=True)
        assert written == [self._written(item_id, strange)]

    @rule(which=st.integers(0, 3))
    def one_shard_catches_up(self, which: int) -> None:
        self.count("catch up, one shard")
        shard = self.service.shards[which % len(self.service.shards)]
        shard.catch_up()
        assert {shard.position(name) for name in shard.held} <= {self.seq}

    @rule()
    def all_shards_catch_up(self) -> None:
        self.count("catch up")
        for which in range(len(self.service.shards)):
            self.one_shard_catches_up(which)

    @precondition(lambda self: self.activations)
    @rule()
    def fold(self) -> None:
        self.count("compact")
        self._fold(FaultAt(self.store, -1, "lost"))

    @precondition(lambda self: self.activations)
    @rule(at=AT, how=HOWS)
    def fold_with_a_fault(self, at: int, how: How) -> None:
        self.count(f"compact, {how}")
        self._fold(FaultAt(self.store, at, how))

    def _fold(self, store: FaultAt) -> None:
        name = self.activations[-1][0]
        base, tombstones = self.generations[name], self.has_tombstones(name)
        whole = self.changed(base, lambda _: self.seq, embedded=True)
        made = Published(whole.compacted(), self.day, self.seq)
        try:
            done = self.run(
                store,
                lambda to: compact(to, self.service.log, "machine", MODEL.passages),
                conflict="collection",
            )
        except InvalidInput:
            assert not whole.items
            return
        self.follow(store, made)
        if done is not None:
            if tombstones:
                self.meet("compactions of tombstones")
            assert self.activations[-1][0] == done.manifest.generation
            assert done.manifest.items == len(whole.items)
            assert done.manifest.item_seq == self.seq
            assert done.deleted == self._gone(base, whole)
            self.holds_what_the_model_does(done.manifest.generation)

    def _gone(self, base: Published, whole: Catalogue) -> int:
        """How many items are deleted in the log after a generation."""
        touched = {c.item_id for c in self.changes if c.seq > base.item_seq}
        return len(touched - whole.items.keys())

    # ── what the model makes of a change ─────────────────────────────────────────────────────────

    def _stands(self, item_id: str) -> tuple[str, str | None] | None:
        """The title and genre that a patch starts from; None where there is no such item."""
        if (change := self.newest(item_id)) is not None:
            return (change.item.title, change.item.genre) if change.item else None
        assert self.serving is not None
        item = self.serving.catalogue.items.get(item_id)
        return (item.title, item.genre) if item else None

    def _refuses(self, item_id: str, expected: int | None) -> bool:
        return expected is not None and expected != self.versions[item_id]

    def _written(self, item_id: str, item: LiveItem | None) -> Written:
        """The change in the model's history, and what the log must say of it."""
        known = self.newest(item_id)
        if known is not None and said(known.item) == said(item):
            return Written(item_id, self.versions[item_id], known.seq, "unchanged")
        self.versions[item_id] += 1
        self.changes.append(Change(self.seq + 1, item_id, item))
        outcome = "deleted" if item is None else "stored"
        return Written(item_id, self.versions[item_id], self.seq, outcome)

    def _nothing_is_stored(
        self, asked: Coroutine[Any, Any, object], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            asyncio.run(asked)
        stored = [change.seq for change in self.service.log.since(0)]
        assert max(stored, default=0) == self.seq


def live(item_id: str, title: str, genre: str | None) -> LiveItem:
    """The item with the vector that its passage has."""
    fields = {} if genre is None else {"genre": genre}
    (vector,) = MODEL.passages([item_passage(Item(item_id, title, fields), PASSAGE)])
    return LiveItem(title, genre, vector)


def said(item: LiveItem | None) -> tuple[str, str | None, bool] | None:
    return None if item is None else (item.title, item.genre, item.strange)
