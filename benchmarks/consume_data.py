"""A count in, the messages of a stream out: events, and items that are put, changed and deleted."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.pipeline import Sources, ingest
from llmrec_ray.ports import Embedder
from llmrec_ray.settings import LearningSettings
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.types import Event, Item

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMED = "amber bakery canyon desert engine forest garden harbour island jungle kitchen lantern"
WORDS = [*NAMED.split(), "meadow", "night", "ocean", "piano", "quarry", "river", "silver", "winter"]
CHANGES_EVERY, DELETES_EVERY, EARLIER = 10, 50, 1_005
"""Of ten item messages one changes an earlier item, of fifty one deletes it: far enough back that
both do not wait for their acks at once, so that a message applied again would be a version more."""


@dataclass(frozen=True, slots=True)
class Change:
    """One message on an item: what it puts, None where it deletes."""

    item_id: str
    item: Item | None

    def body(self) -> bytes:
        if self.item is None:
            return json.dumps({"item_id": self.item_id, "deleted": True}).encode()
        told = {"item_id": self.item_id, "title": self.item.title}
        return json.dumps({**told, "fields": dict(self.item.fields)}).encode()


def event(number: int, users: int) -> Event:
    """One of many clicks, in the order of their times."""
    time = START + timedelta(seconds=number)
    item = f"i{number * 7 % 5_000}"
    return Event(f"e{number:07}", f"u{number * 31 % users}", item, "click", time)


def event_body(one: Event) -> bytes:
    """The event as a message."""
    names = ("event_id", "user_id", "item_id", "type")
    told = {name: getattr(one, name) for name in names}
    return json.dumps({**told, "time": one.time.isoformat()}).encode()


def change(number: int) -> Change:
    """A new item, or another state of an earlier one."""
    earlier = number - EARLIER
    if number % CHANGES_EVERY != CHANGES_EVERY - 1 or earlier < 0:
        return Change(f"i{number:06}", _item(number, number))
    name = f"i{earlier:06}"
    return Change(name, None if number % DELETES_EVERY == DELETES_EVERY - 1 else _item(earlier, -1))


def states(changes: Sequence[Change]) -> dict[str, tuple[int, Item | None]]:
    """What must be stored in the end: of every item its version, and what it is."""
    found: dict[str, tuple[int, Item | None]] = {}
    for one in changes:
        found[one.item_id] = (found.get(one.item_id, (0, None))[0] + 1, one.item)
    return found


def publish_generation(folder: Path, embedder: Embedder) -> None:
    """A generation of a few items with the fields of the messages, and its files, in the folder."""
    rows = [json.dumps({"id": f"old{n}", "title": f"Old {n}", "plot": "Old."}) for n in range(20)]
    (folder / "items.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    description = folder / "items.yaml"
    columns = "columns: {id: id, title: title, text: [plot]}\n"
    description.write_text(f"files: items.jsonl\n{columns}", "utf-8")
    with open_event_store(f"sqlite:///{folder}/none.db", timeout_s=30, ttl_s=60) as events:
        ingest(
            description,
            Sources(FolderStore(folder / "objects"), events, "benchmark", events.items),
            embed=embedder.passages,
            encoder=embedder.info,
            learning=LearningSettings(),
            rejected=folder / "rejected",
        )


def _item(number: int, seed: int) -> Item:
    """A title and a plot of about twenty words."""
    dice = random.Random(f"{number}/{seed}")
    words = dice.choices(WORDS, k=18)
    plot = f"A {words[0]} and a {words[1]}: {' '.join(words[2:])}."
    return Item(f"i{number:06}", f"{words[3].title()} {number}", {"plot": plot})
