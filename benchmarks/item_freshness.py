"""How long until an item that is put is found? A running service in; p50 and p99 in seconds out.

First the peak of answers a second is measured, then half of it is asked for all the time, beside
which one item after another is put, searched by its title until it is found, and deleted. An item
counts as found at the first of several answers in a row that have it and name its `delta_seq` or a
later one: every shard whose answer is in these had applied the change, and several ask several
replicas. The time runs from before the request, so it includes embedding the item and storing it.
"""

import argparse
import asyncio
import random
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

from benchmarks.freshness import Load, background, peak, quantiles, some_items
from benchmarks.written import write

IN_A_ROW = 5
PAUSE_S = 0.01
GIVE_UP_S = 30.0
NOUNS = ["lantern", "harbour", "orchid", "thunder", "marble", "violin", "glacier", "saddle"]
NOUNS += ["copper", "meadow", "pepper", "anchor", "cathedral", "beetle", "velvet", "compass"]
NOUNS += ["rooster", "almond", "canyon", "puppet", "whisper", "hammer", "zeppelin", "cactus"]


@dataclass
class Seen:
    """What the probes measured, in seconds.

    `lost` were acknowledged and never found; `refused` searches had no answer, which is not one.
    """

    fresh: list[float] = field(default_factory=list)
    put: list[float] = field(default_factory=list)
    searched: list[float] = field(default_factory=list)
    lost: int = 0
    refused: int = 0


async def probe(http: httpx.AsyncClient, item_id: str, title: str, seen: Seen) -> None:
    """One item from its request until every shard has it; it is deleted again."""
    since = time.perf_counter()
    answer = await http.put(f"/v1/items/{item_id}", json={"title": title})
    answer.raise_for_status()
    seq = answer.json()["delta_seq"]
    seen.put.append(time.perf_counter() - since)
    first, row = 0.0, 0
    while row < IN_A_ROW and time.perf_counter() < since + GIVE_UP_S:
        asked = time.perf_counter()
        found = await http.post("/v1/search", json={"query": title, "limit": 10})
        now = time.perf_counter()
        seen.searched.append(now - asked)
        seen.refused += found.is_error
        if not found.is_error and _has(found.json(), item_id, seq):
            first, row = (first if row else now), row + 1
        else:
            row = 0
            await asyncio.sleep(PAUSE_S)
    if row == IN_A_ROW:
        seen.fresh.append(first - since)
    else:
        seen.lost += 1
    (await http.delete(f"/v1/items/{item_id}")).raise_for_status()


def _has(answer: dict[str, Any], item_id: str, seq: int) -> bool:
    ids = [item["item_id"] for item in answer["items"]]
    return answer["delta_seq"] >= seq and item_id in ids


async def measure(
    http: httpx.AsyncClient, *, probes: int, rate: float | None, peak_s: float = 10.0
) -> tuple[dict[str, float], dict[str, Any]]:
    """The ratios and what they are of; without a `rate`, at half of the peak measured first."""
    items, load, seen = await some_items(http), Load(), Seen()
    highest = await peak(http, items, peak_s, load) if rate is None else None
    chosen = highest / 2 if highest is not None else rate or 1.0
    run, dice = uuid.uuid4().hex[:8], random.Random(0)
    since = time.perf_counter()
    loading = asyncio.ensure_future(background(http, items, chosen, load))
    try:
        for number in range(probes):
            title = " ".join(dice.sample(NOUNS, 5))
            await probe(http, f"freshness-{run}-{number}", title, seen)
    finally:
        seconds = time.perf_counter() - since
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        for user in load.writers:
            await http.delete(f"/v1/users/{user}")
    if not seen.fresh:
        raise ValueError(f"none of {probes} items was found within {GIVE_UP_S:.0f} s.")
    fresh = quantiles(seen.fresh)
    ratios = {
        "freshness_p50_s": fresh["p50"],
        "freshness_p99_s": fresh["p99"],
        "lost": float(seen.lost),
    }
    return ratios, {
        "freshness_s": fresh,
        "put_s": quantiles(seen.put),
        "search_s": quantiles(seen.searched),
        "searches_refused": seen.refused,
        "peak_per_s": highest,
        "background": {
            "asked_per_s": chosen,
            "sent_per_s": load.sent / seconds,
            "failed": load.failed,
        },
    }


async def _against(
    url: str, probes: int, rate: float | None
) -> tuple[dict[str, float], dict[str, Any]]:
    limits = httpx.Limits(max_connections=500)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as http:
        return await measure(http, probes=probes, rate=rate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 where the service does not answer or an item was lost."""
    parser = argparse.ArgumentParser(prog="python benchmarks/item_freshness.py")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--rate", type=float, help="background calls a second; else half of peak")
    chosen = parser.parse_args(arguments)
    try:
        ratios, found = asyncio.run(_against(chosen.url, chosen.probes, chosen.rate))
    except (httpx.HTTPError, ValueError) as error:
        print(f"{chosen.url}: {error}", file=sys.stderr)
        return 1
    write("item_freshness", ratios, found, vars(chosen), ("ray", "sqlalchemy", "numpy"))
    return 1 if ratios["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
