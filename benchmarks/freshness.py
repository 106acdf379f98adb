"""How long until an event changes the next answer? A running service in; p50, p99 and ratios out.

A probe is a new user: an answer, then an event on its first item, then answers until one carries
the event's user version and has other items. The floor is the same two requests with nothing to
become fresh: an event sent again, and an answer. Both alternate in one run, under one load.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.written import write

CALLERS = 16
READERS = 200
WRITES = 0.1
"""Background calls that are events; the others are recommendations."""
MOST_ASKS = 1000


@dataclass
class Seen:
    """What the probes measured, in seconds."""

    fresh: list[float] = field(default_factory=list)
    posted: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    asks: Counter[int] = field(default_factory=Counter)


@dataclass
class Load:
    """What the background sent, and how it was answered."""

    sent: int = 0
    failed: int = 0
    writers: set[str] = field(default_factory=set)


# ── one probe ────────────────────────────────────────────────────────────────────────────────────


async def probe(http: httpx.AsyncClient, user: str, seen: Seen) -> None:
    """One event until it shows, and then the floor."""
    before = await _recommend(http, user)
    event = _event(user, before["items"][0]["item_id"])
    since = time.perf_counter()
    version = (await post(http, "/v1/events", event))["user_versions"][user]
    seen.posted.append(time.perf_counter() - since)
    asks = 1
    while not _changed(before, await _recommend(http, user), version):
        asks += 1
        if asks > MOST_ASKS:
            raise ValueError(f"{MOST_ASKS} answers after the event still did not show it.")
    seen.fresh.append(time.perf_counter() - since)
    seen.asks[asks] += 1
    since = time.perf_counter()
    await post(http, "/v1/events", event)
    await _recommend(http, user)
    seen.floor.append(time.perf_counter() - since)


def _changed(before: dict[str, Any], answer: dict[str, Any], version: int) -> bool:
    ids = [[item["item_id"] for item in one["items"]] for one in (before, answer)]
    return answer["user_version"] >= version and ids[0] != ids[1]


# ── the background ───────────────────────────────────────────────────────────────────────────────


async def peak(http: httpx.AsyncClient, items: Sequence[str], seconds: float, load: Load) -> float:
    """Answers a second when every one of `CALLERS` asks again at once."""
    since = time.perf_counter()
    done = 0

    async def caller(number: int) -> None:
        nonlocal done
        dice = random.Random(number)
        while time.perf_counter() < since + seconds:
            await _any(http, items, dice, load)
            done += 1

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return done / (time.perf_counter() - since)


async def background(
    http: httpx.AsyncClient, items: Sequence[str], rate: float, load: Load
) -> None:
    """Calls at random moments, `rate` a second, whether or not the last was answered."""
    dice = random.Random(0)
    running: set[asyncio.Task[None]] = set()

    async def one() -> None:
        load.sent += 1
        try:
            await _any(http, items, dice, load)
        except httpx.HTTPError:
            load.failed += 1

    due = time.perf_counter()
    try:
        while True:
            due += dice.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.ensure_future(one())
            running.add(task)
            task.add_done_callback(running.discard)
    finally:
        await asyncio.gather(*running, return_exceptions=True)


async def _any(
    http: httpx.AsyncClient, items: Sequence[str], dice: random.Random, load: Load
) -> None:
    user = f"freshness-reader-{dice.randrange(READERS)}"
    if dice.random() < WRITES:
        load.writers.add(user)
        await post(http, "/v1/events", _event(user, dice.choice(items)))
    else:
        await _recommend(http, user)


# ── the run ──────────────────────────────────────────────────────────────────────────────────────


async def measure(
    http: httpx.AsyncClient, *, probes: int, rate: float | None, peak_s: float = 10.0
) -> dict[str, Any]:
    """Run the probes one after another; without a `rate`, at half of the peak measured first."""
    items = await some_items(http)
    run, seen, load = uuid.uuid4().hex[:8], Seen(), Load()
    highest = await peak(http, items, peak_s, load) if rate is None else None
    chosen = highest / 2 if highest is not None else rate or 1.0
    since = time.perf_counter()
    loading = asyncio.ensure_future(background(http, items, chosen, load))
    try:
        for number in range(probes):
            await probe(http, f"freshness-{run}-{number}", seen)
    finally:
        seconds = time.perf_counter() - since
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        for user in [*(f"freshness-{run}-{n}" for n in range(probes)), *load.writers]:
            await http.delete(f"/v1/users/{user}")
    return report(seen, load, seconds=seconds, rate=chosen, highest=highest)


def report(
    seen: Seen, load: Load, *, seconds: float, rate: float, highest: float | None
) -> dict[str, Any]:
    """What was measured, and it relative to the floor."""
    fresh, floor = quantiles(seen.fresh), quantiles(seen.floor)
    return {
        "probes": len(seen.fresh),
        "peak_per_s": highest,
        "background": {
            "asked_per_s": rate,
            "sent_per_s": load.sent / seconds,
            "failed": load.failed,
        },
        "freshness_s": fresh,
        "post_s": quantiles(seen.posted),
        "floor_s": floor,
        "asks": {str(asks): count for asks, count in sorted(seen.asks.items())},
        "ratios": {
            "freshness_p50_vs_floor": fresh["p50"] / floor["p50"],
            "freshness_p99_vs_floor": fresh["p99"] / floor["p99"],
            "changed_in_the_first_answer": seen.asks[1] / len(seen.fresh),
        },
    }


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """The middle, the last hundredth and the largest."""
    p50, p99 = np.quantile(seconds, [0.5, 0.99]).tolist()
    return {"p50": p50, "p99": p99, "max": max(seconds)}


async def some_items(http: httpx.AsyncClient) -> list[str]:
    """Ids of items that the service has; `ValueError` where it has none."""
    answer = await post(http, "/v1/search", {"query": "love", "limit": 100})
    if not answer["items"]:
        raise ValueError("the service has no items: ingest a catalogue first.")
    return [item["item_id"] for item in answer["items"]]


async def _recommend(http: httpx.AsyncClient, user: str) -> dict[str, Any]:
    return await post(http, "/v1/recommendations", {"user_id": user})


async def post(http: httpx.AsyncClient, path: str, body: object) -> dict[str, Any]:
    """The answer's body; raises for a status that is an error."""
    answer = await http.post(path, json=body)
    answer.raise_for_status()
    return answer.json()


def _event(user: str, item: str) -> dict[str, str]:
    time_ = datetime.now(UTC).isoformat()
    name = uuid.uuid4().hex
    return {"event_id": name, "user_id": user, "item_id": item, "type": "like", "time": time_}


async def _against(url: str, probes: int, rate: float | None) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=500)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as http:
        return await measure(http, probes=probes, rate=rate)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 1 where the service does not answer."""
    parser = argparse.ArgumentParser(prog="python benchmarks/freshness.py", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--probes", type=int, default=300)
    parser.add_argument("--rate", type=float, help="background calls a second; else half of peak")
    chosen = parser.parse_args(arguments)
    try:
        found = asyncio.run(_against(chosen.url, chosen.probes, chosen.rate))
    except (httpx.HTTPError, ValueError) as error:
        print(f"{chosen.url}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({name: found[name] for name in ("freshness_s", "floor_s")}))
    write("freshness", found.pop("ratios"), found, vars(chosen), ("ray", "sqlalchemy", "numpy"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
