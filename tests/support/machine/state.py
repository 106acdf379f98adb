"""What the model knows, and the service and stores that it is compared with."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from hypothesis.stateful import RuleBasedStateMachine

from llmrec_ray.errors import Conflict, StoreUnavailable
from llmrec_ray.generation.contents import contents
from llmrec_ray.generation.manifest import FORMAT
from llmrec_ray.generation.published import load_manifest, verify
from llmrec_ray.ports import ObjectStore
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.local import FolderStore
from tests.support.faults import Crashed, FaultAt
from tests.support.generations import FaultyStore
from tests.support.library import Service
from tests.support.naive import Catalogue, LiveItem

T = TypeVar("T")

A_DAY = timedelta(hours=25)  # longer than the grace period


@dataclass(frozen=True)
class Published:
    """A generation as the model knows it; live changes up to `item_seq` are in it."""

    catalogue: Catalogue
    day: int
    item_seq: int = 0


@dataclass(frozen=True)
class Change:
    """One live change as the model keeps it: the whole history, which the log does not."""

    seq: int
    item_id: str
    item: LiveItem | None


class State(RuleBasedStateMachine):
    """The model beside the service; the rules are in the classes that build on it."""

    operations: ClassVar[Counter[str]] = Counter()
    met: ClassVar[Counter[str]] = Counter()
    """What came about in the operations, such as answers that were compared."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="llmrec-machine-"))
        self.objects = self.folder / "objects"
        self.store = FolderStore(self.objects, durable=False)
        self.service = Service(self.folder, FaultyStore(self.store), 1)
        self.generations: dict[str, Published] = {}
        self.activations: list[tuple[str, int]] = []
        self.serving: Published | None = None
        self.serving_name: str | None = None
        self.day = 0
        self.events: dict[str, list[tuple[str, float]]] = {}
        self.told = 0
        self.late: list[tuple[FaultAt, Published | None]] = []
        self.leases: set[str] = set()
        self.changes: list[Change] = []
        self.versions: Counter[str] = Counter()

    def teardown(self) -> None:
        self.service.close()
        self.all_sound()
        shutil.rmtree(self.folder)

    # ── what is there ────────────────────────────────────────────────────────────────────────────

    def visible(self) -> Catalogue | None:
        """What the next answer is computed from.

        That is the generation that is served, and what each shard has applied of the item log.
        """
        if self.serving is None:
            return None
        return self.changed(self.serving, self.applied)

    def changed(
        self, since: Published, upto: Callable[[str], int], *, embedded: bool = False
    ) -> Catalogue:
        """A generation with the live changes after it, of each item up to a place of the log.

        Those whose vectors another encoder made are in it only when `embedded` anew.
        """
        newest = {
            one.item_id: replace(one.item, strange=False) if embedded and one.item else one.item
            for one in self.changes
            if since.item_seq < one.seq <= upto(one.item_id)
        }
        return since.catalogue.with_live(newest)

    def applied(self, item_id: str) -> int:
        """Up to where its shard has applied the log to the generation that is served."""
        return self.service.positions(self.serving_name or "")[self.service.owner(item_id)]

    def newest(self, item_id: str) -> Change | None:
        """The state of an item in the log."""
        return next((one for one in reversed(self.changes) if one.item_id == item_id), None)

    @property
    def seq(self) -> int:
        """The last place of the log that was given out."""
        return self.changes[-1].seq if self.changes else 0

    def has_tombstones(self, generation: str) -> bool:
        return load_manifest(self.store, generation).format == FORMAT

    def holds_what_the_model_does(self, generation: str) -> None:
        """The stored items are those of the model, with their text vectors."""
        found = contents(self.store, load_manifest(self.store, generation))
        stored = dict(zip(texts(found.items, "item_id"), found.text, strict=True))
        items = self.generations[generation].catalogue.items
        assert stored.keys() == items.keys()
        assert all(np.allclose(stored[one], item.text, atol=1e-6) for one, item in items.items())

    def all_sound(self) -> None:
        for name in self.generations:
            assert verify(self.store, name) == []

    # ── what the model makes of it ───────────────────────────────────────────────────────────────

    def run(self, store: FaultAt, work: Callable[[ObjectStore], T], *, conflict: str) -> T | None:
        """The work's result; None where it was cut, or refused because of a lease of that kind."""
        try:
            return work(store)
        except (Crashed, StoreUnavailable):
            assert store.reached
        except Conflict:
            assert self.left(conflict)
        return None

    def left(self, kind: str) -> bool:
        """Whether a lease of that kind was left today, by a death or by a collection."""
        return any(key.startswith(f"leases/{kind}-") for key in self.leases)

    def follow(self, store: FaultAt, made: Published | None = None) -> None:
        """Take over into the model what was really written and deleted."""
        for key in store.created:
            kind, name = key.split("/")[:2]
            if kind == "leases":
                self.leases.add(key)
            elif kind == "generations":
                assert made is not None
                self.generations[name] = replace(made, day=self.day)
                if self.has_tombstones(name):
                    self.meet("generations with tombstones")
            elif kind == "activations":
                stored = json.loads(self.store.get(key))
                self.activations.append((stored["generation"], self.day))
        for key in store.deleted:
            self.leases.discard(key)
            if key.startswith("generations/"):
                self.generations.pop(key.split("/")[1], None)
        if store.on_the_way:
            self.late.append((store, made))

    def meet(self, what: str) -> None:
        type(self).met[what] += 1

    def count(self, operation: str) -> None:
        type(self).operations[operation] += 1
