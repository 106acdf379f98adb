"""Rules: the service looks for what is new, and starts anew with any number of shards."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from llmrec_ray.errors import StoreUnavailable
from llmrec_ray.types import IndexKind
from tests.support.generations import FaultyStore
from tests.support.library import Service
from tests.support.machine.drawn import INDEXES, SHARDS
from tests.support.machine.state import State


class ServiceRules(State):
    """What polls and restarts do."""

    @rule()
    def look(self) -> None:
        self.count("look")
        self.service.look()
        if self.activations:
            self.serving_name = self.activations[-1][0]
            self.serving = self.generations[self.serving_name]

    @rule()
    def look_while_the_store_is_down(self) -> None:
        self.count("look, store down")
        self.service.store.down = True
        with pytest.raises(StoreUnavailable):
            self.service.look()
        self.service.store.down = False

    @rule(shards=SHARDS, log_down=st.booleans(), index=INDEXES, mapped=st.booleans())
    def restart(self, shards: int, log_down: bool, index: IndexKind, mapped: bool) -> None:
        self.count("restart, reshard" + ", item log down" * log_down)
        before = self.store.stats("")
        self.service.close()
        originals = self.folder / "originals" if mapped else None
        self.service = Service(
            self.folder, FaultyStore(self.store), shards, index=index, originals=originals
        )
        self.service.log.down = log_down
        self.look()
        self.service.log.down = False
        if self.serving is not None and not log_down:
            assert self.service.positions(self.serving_name or "") == [self.seq] * shards
        assert self.service.store.created == []
        assert self.store.stats("") == before, "another number of shards moves no data"
