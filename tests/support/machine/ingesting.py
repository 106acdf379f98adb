"""Rules: a catalogue file is ingested, on top of what is current and of all live items."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import rule

from llmrec_ray.catalog.text import item_passage
from llmrec_ray.errors import InvalidInput
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.ports import EventStore, ObjectStore
from llmrec_ray.settings import LearningSettings
from llmrec_ray.types import Event, Item
from tests.support.faults import FaultAt, How
from tests.support.machine.drawn import AT, HOWS, NUMBERS, SEEDS
from tests.support.machine.state import Published, State
from tests.support.naive import (
    MIX,
    MODEL,
    NEVER_SEEN,
    PASSAGE,
    RECENCY,
    Catalogue,
    LiveItem,
    NaiveItem,
    catalogue,
)

DESCRIPTION = f"""
files: items.jsonl
columns: {{id: id, title: title, text: [genre]}}
passage: "{PASSAGE}"
"""
LEARNING = LearningSettings(
    mix_text=MIX.text,
    mix_prior=MIX.prior,
    mix_query=MIX.query * MIX.text,  # learning has it in units of a usual score
    prior_fade=MIX.prior_fade,
    recency=RECENCY,
)
RETITLED = st.frozensets(st.integers(0, 24), max_size=4)


class NoEvents:
    """An event store that training finds empty: the model does not learn."""

    def scan(self) -> Iterator[Event]:
        return iter(())


class IngestRules(State):
    """What is ingested is what the files and the log say; unchanged texts keep their vectors."""

    @rule(numbers=NUMBERS, seed=SEEDS, retitled=RETITLED)
    def ingest(self, numbers: frozenset[int], seed: int, retitled: frozenset[int]) -> None:
        self.count("ingest")
        self._ingest(FaultAt(self.store, -1, "lost"), _files(numbers, seed, retitled))

    @rule(numbers=NUMBERS, seed=SEEDS, retitled=RETITLED, at=AT, how=HOWS, again=st.booleans())
    def ingest_with_a_fault(
        self,
        numbers: frozenset[int],
        seed: int,
        retitled: frozenset[int],
        at: int,
        how: How,
        again: bool,
    ) -> None:
        self.count(f"ingest, {how}")
        files = _files(numbers, seed, retitled)
        self._ingest(FaultAt(self.store, at, how), files)
        if again:  # goes on from the parts that were finished
            self.count("ingest again")
            self._ingest(FaultAt(self.store, -1, "lost"), files)

    def _ingest(self, store: FaultAt, files: dict[str, Item]) -> None:
        made = Published(self._expected(files), self.day, self.seq)
        try:
            done = self.run(store, lambda to: self._run(to, files), conflict="collection")
        except InvalidInput:
            assert not made.catalogue.items
            return
        self.follow(store, made)
        if done is not None:
            assert self.activations[-1][0] == done
            assert self.generations[done].catalogue.items.keys() == made.catalogue.items.keys()
            self.holds_what_the_model_does(done)

    def _run(self, store: ObjectStore, files: dict[str, Item]) -> str:
        lines = [
            json.dumps({"id": item_id, "title": item.title, **item.fields})
            for item_id, item in files.items()
        ]
        (self.folder / "items.jsonl").write_text("\n".join(lines), "utf-8")
        (self.folder / "items.yaml").write_text(DESCRIPTION, "utf-8")
        return ingest(
            self.folder / "items.yaml",
            Sources(store, cast(EventStore, NoEvents()), "machine", self.service.log),
            embed=MODEL.passages,
            encoder=MODEL.info,
            learning=LEARNING,
            rejected=self.folder / "rejected",
        ).manifest.generation

    def _expected(self, files: dict[str, Item]) -> Catalogue:
        """The files with all live changes over them, and nothing that was learned."""
        state: dict[str, Item | None] = {**files}
        for change in self.changes:
            state[change.item_id] = _as_item(change.item_id, change.item)
        items = {one: self._item(item) for one, item in state.items() if item is not None}
        texts = [item.text.astype(float) for item in items.values()]
        return Catalogue(items, {}, np.mean(texts, axis=0) if texts else np.zeros(0))

    def _item(self, item: Item) -> NaiveItem:
        """With the vector of what is current, where that says the same of it."""
        genre = item.fields.get("genre")
        assert genre is None or isinstance(genre, str)
        said = item_passage(item, PASSAGE)
        known: NaiveItem | None = None
        if self.activations:
            base = self.generations[self.activations[-1][0]].catalogue
            known = base.items.get(item.item_id)
        if known is not None and _passage(item.item_id, known) == said:
            text = known.text
        else:
            (text,) = MODEL.passages([said])
        return replace(NEVER_SEEN, title=item.title, genre=genre, text=text)


def _files(numbers: frozenset[int], seed: int, retitled: frozenset[int]) -> dict[str, Item]:
    """The items of the numbers; some have another title, and the seed turns their genres."""
    found: dict[str, Item] = {}
    for item_id, item in catalogue(numbers, seed).items.items():
        number = int(item_id[1:])
        title = f"{item.title} again" if number in retitled else item.title
        found[item_id] = Item(item_id, title, {"genre": f"genre {(number + seed // 2) % 3}"})
    return found


def _as_item(item_id: str, live: LiveItem | None) -> Item | None:
    if live is None:
        return None
    return Item(item_id, live.title, {} if live.genre is None else {"genre": live.genre})


def _passage(item_id: str, item: NaiveItem) -> str:
    fields = {} if item.genre is None else {"genre": item.genre}
    return item_passage(Item(item_id, item.title, fields), PASSAGE)
