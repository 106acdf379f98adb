"""A running service in, the ids of a load run out: `python -m loadtest.ids prepare | forget`.

Items are discovered through searches. Users are made: they are named `load-…`, get a history
through the events call, and are forgotten afterwards, so a run never touches anybody else's data.
"""

import argparse
import itertools
import json
import random
import sys
from bisect import bisect
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

IDS = Path("var/loadtest/ids.json")
USERS = 200
HISTORY = 30
ITEMS = 1000
BATCH = 500
WORDS = ("a", "love", "war", "comedy", "night", "music", "crime", "space", "family", "history")


@dataclass(frozen=True, slots=True)
class Ids:
    """What a run asks about: `readers` are recommended to, `writers` do things, and are ours."""

    readers: tuple[str, ...]
    writers: tuple[str, ...]
    items: tuple[str, ...]
    titles: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Ids":
        """Raises `ValueError` where the file is not what `prepare` writes."""
        try:
            read = json.loads(path.read_text("utf-8"))
            ids = cls(**{name: tuple(map(str, listed)) for name, listed in read.items()})
        except (OSError, ValueError, TypeError, AttributeError) as cause:
            raise ValueError(
                f"cannot read ids from {path}: {cause}. `python -m loadtest.ids prepare` makes it."
            ) from cause
        if not all((ids.readers, ids.writers, ids.items, ids.titles)):
            raise ValueError(f"{path} has an empty list; each kind of id is needed.")
        return ids

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), ensure_ascii=False), "utf-8")


class Zipf:
    """Places 0 … size - 1, the place k drawn in proportion to 1 / (k + 1)^exponent."""

    def __init__(self, size: int, exponent: float = 1.0) -> None:
        if size < 1:
            raise ValueError("there is nothing to draw from: size must be at least 1.")
        self._steps = list(
            itertools.accumulate(1 / place**exponent for place in range(1, size + 1))
        )

    def draw(self, randomness: random.Random) -> int:
        return bisect(self._steps, randomness.random() * self._steps[-1], hi=len(self._steps) - 1)


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────


def prepare(http: httpx.Client, seed: int, readers: Sequence[str] = ()) -> Ids:
    """Discover items and give the made users a history; `readers` are users who exist already."""
    found: dict[str, str] = {}
    for query in WORDS:
        answer = _asked(http, "POST", "/v1/search", {"query": query, "limit": 100})
        found |= {item["item_id"]: item["title"] for item in answer["items"]}
    if not found:
        raise ValueError(f"{http.base_url} has no items: ingest a catalogue first.")
    items = sorted(found)[:ITEMS]
    draws = random.Random(seed)
    draws.shuffle(items)
    users = tuple(f"load-{number}" for number in range(USERS))
    popular = Zipf(len(items))
    events = [
        event(user, items[popular.draw(draws)], uuid4().hex)
        for user in users
        for _ in range(HISTORY)
    ]
    for begin in range(0, len(events), BATCH):
        _asked(http, "POST", "/v1/events", {"events": events[begin : begin + BATCH]})
    titles = tuple(found[item] for item in items)
    return Ids(tuple(readers) or users, users, tuple(items), titles)


def forget(http: httpx.Client, ids: Ids) -> int:
    """Forget the users that `prepare` made; how many events that were."""
    return sum(_asked(http, "DELETE", f"/v1/users/{user}")["events"] for user in ids.writers)


def event(user: str, item: str, name: str) -> dict[str, str]:
    """A like, now."""
    return {
        "event_id": name,
        "user_id": user,
        "item_id": item,
        "type": "like",
        "time": datetime.now(UTC).isoformat(),
    }


def _asked(http: httpx.Client, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = http.request(method, path, json=body)
    answer.raise_for_status()
    return answer.json()


def main(arguments: list[str] | None = None) -> int:
    """Prepare a run, or clean up after it; 0 when that worked."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.ids", description=main.__doc__)
    parser.add_argument("what", choices=("prepare", "forget"))
    parser.add_argument("--host", default="http://127.0.0.1:8000")
    parser.add_argument("--ids", type=Path, default=IDS, help="the file to write, or to read")
    parser.add_argument("--readers", type=Path, help="existing users to recommend to, one a line")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    try:
        with httpx.Client(base_url=chosen.host, timeout=60) as http:
            if chosen.what == "prepare":
                listed = chosen.readers.read_text("utf-8").split() if chosen.readers else ()
                ids = prepare(http, chosen.seed, listed)
                ids.write(chosen.ids)
                print(f"{chosen.ids}: {len(ids.items)} items, {len(ids.readers)} users")
            else:
                print(f"{forget(http, Ids.read(chosen.ids))} events forgotten")
    except (httpx.HTTPError, OSError, ValueError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
