"""What does a swap of generations cost callers? A published catalogue in; `results/swap.json` out.

`python benchmarks/swap.py` publishes copies of the current generation whose titles are disjoint
(each begins with the mark of its copy), starts the local service on them, and puts the load of
`make load` on it twice with the same seed: while one copy stays current, and while another is
activated every few seconds, which each shard has to load, and one is rolled back. The client checks
every answer: all of its titles, and what explanations say, are of the generation that it names.
"""

import argparse
import contextlib
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder alone

import httpx
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.written import write
from llmrec_ray.errors import GenerationNotFound
from llmrec_ray.generation.activation import activate, current
from llmrec_ray.generation.contents import draft_of
from llmrec_ray.generation.publish import publish
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.parts import open_objects
from llmrec_ray.ports import ObjectStore
from llmrec_ray.schemas import TITLE
from llmrec_ray.settings import load_settings
from llmrec_ray.storage.columns import texts
from llmrec_ray.storage.local import FolderStore
from loadtest.ids import forget, prepare
from loadtest.ledger import Kind, Ledger
from loadtest.replies import MIXED
from loadtest.run import CALLERS, FOLDER, locust
from serve.up import local_cluster

MARKS = ("[A] ", "[B] ", "[C] ")
"""One more than a shard holds, so that each activation in turn is of one that must be loaded."""
START_S = 600.0
LOADED_S = 60.0
LOOK_S = 0.05
ROLLBACK = [
    *(sys.executable, "-c", "from llmrec_ray.cli import main; main()"),
    *("generations", "rollback"),
]
WRITTEN_BY_A_MODEL = frozenset({"stream", "stream, first"})


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of what is current: how it was made, how long the call or command took that made
    it, and how long from its end until the generation answered.
    """

    how: str
    generation: str
    made_s: float
    answered_s: float


@dataclass
class Found:
    """What both runs showed."""

    steady: Ledger
    swapping: Ledger
    swaps: list[Swap] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Calls without a right answer, those included that were told to come again."""
        return sum(kind.failed + kind.refused for kind in self.swapping.kinds.values())

    @property
    def mixed(self) -> int:
        reasons = self.swapping.reasons.items()
        return sum(count for reason, count in reasons if f": {MIXED}" in reason)

    def ratios(self) -> dict[str, float]:
        """The longest and p99 of the calls that no language model writes, relative to steady."""
        before, during = _plain(self.steady), _plain(self.swapping)
        return {
            "swap_failed": self.failed,
            "swap_mixed": self.mixed,
            "longest_vs_steady": _ms(during, 1.0) / _ms(before, 1.0),
            "p99_vs_steady": _ms(during, 0.99) / _ms(before, 0.99),
        }


# ── copies with titles of their own ──────────────────────────────────────────────────────────────


def copies(source: ObjectStore, store: ObjectStore) -> dict[str, str]:
    """Publish a copy for each mark, the first of them current; the marks by generation."""
    active = current(source)
    if active is None:
        raise GenerationNotFound("nothing is published to make copies of: run `make demo` first.")
    draft = draft_of(source, load_manifest(source, active.generation))
    place = draft.items.schema.get_field_index(TITLE)
    plain = texts(draft.items, TITLE)
    marks: dict[str, str] = {}
    for mark in MARKS:
        titles = pa.array([mark + title for title in plain], pa.string())
        marked = replace(draft, items=draft.items.set_column(place, TITLE, titles), item_seq=0)
        marks[publish(store, marked).generation] = mark
    activate(store, next(iter(marks)), "benchmarks.swap")
    return marks


# ── swapping ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Swapper:
    """Makes one generation after the other current; `environment` is that of the service."""

    url: str
    generations: Sequence[str]
    every_s: float
    environment: Mapping[str, str]
    made: list[Swap] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        """The second swap is rolled back, the others are not."""
        following = itertools.cycle([*self.generations[1:], self.generations[0]])
        try:
            with httpx.Client(base_url=self.url, timeout=LOADED_S) as http:
                for number in itertools.count():
                    if self._stop.wait(self.every_s):
                        return
                    self.made.append(
                        self._rolled_back(http) if number == 2 else self._next(http, following)
                    )
        except (httpx.HTTPError, subprocess.CalledProcessError, ValueError) as error:
            self.trouble.append(f"{type(error).__name__}: {error}")

    def _next(self, http: httpx.Client, following: Iterator[str]) -> Swap:
        generation, since = next(following), time.perf_counter()
        http.post(f"/v1/generations/{generation}:activate").raise_for_status()
        return self._made(http, "activate", generation, since)

    def _rolled_back(self, http: httpx.Client) -> Swap:
        since = time.perf_counter()
        command = ["env", *(f"{name}={value}" for name, value in self.environment.items())]
        subprocess.run([*command, *ROLLBACK], check=True, capture_output=True)
        told = http.get("/v1/generations").raise_for_status().json()
        return self._made(http, "rollback", told["current"], since)

    def _made(self, http: httpx.Client, how: str, generation: str, since: float) -> Swap:
        made_s = time.perf_counter() - since
        return Swap(how, generation, made_s, self.until_it_answers(http, generation))

    def until_it_answers(self, http: httpx.Client, generation: str) -> float:
        """How long until answers come from a generation; `ValueError` where they never do."""
        since = time.perf_counter()
        while time.perf_counter() < since + LOADED_S:
            if http.get("/v1/generations").raise_for_status().json()["serving"] == generation:
                return time.perf_counter() - since
            time.sleep(LOOK_S)
        raise ValueError(f"{generation} was not taken up within {LOADED_S:.0f} s")


def measure(
    url: str,
    marks: Mapping[str, str],
    environment: Mapping[str, str],
    *,
    seconds: float,
    arrivals: float,
    every_s: float,
    callers: Sequence[str] = CALLERS,
) -> Found:
    """Load without swaps and with them; raises `ValueError` where the swaps themselves fail."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    options = ["--arrivals", str(arrivals), "--marks", json.dumps(dict(marks))]
    swapper = Swapper(url, list(marks), every_s, environment)
    with httpx.Client(base_url=url, timeout=60) as http:
        ids = prepare(http, seed=0)
        ids.write(FOLDER / "ids.json")
        try:
            swapper.until_it_answers(http, swapper.generations[0])
            steady = locust(url, "swap-steady", [*callers], options, seconds)
            with swapper.running():
                swapping = locust(url, "swap", [*callers], options, seconds)
        finally:
            forget(http, ids)
    if swapper.trouble:
        raise ValueError(f"a swap failed: {swapper.trouble[0]}")
    return Found(steady.ledger, swapping.ledger, swapper.made)


# ── what it shows ────────────────────────────────────────────────────────────────────────────────


def drawn(found: Found) -> Table:
    """Each kind of call without swaps, and with them."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("call", "calls", "p50 ms", "p99 ms", "longest", "swaps: calls", "p50 ms"):
        table.add_column(name, justify="left" if name == "call" else "right")
    for name in ("p99 ms", "longest", "failed", "refused", "degraded"):
        table.add_column(name, justify="right")
    for name, kind in found.swapping.kinds.items():
        before = found.steady.kinds.get(name, Kind())
        counts = zip(_counts(before), _counts(kind), strict=True)
        both = (f"{one} / {other}" for one, other in counts)
        table.add_row(name, *_row(before), *_row(kind), *both)
    return table


def _row(kind: Kind) -> list[str]:
    return [str(kind.calls), *(f"{_ms(kind, share):.1f}" for share in (0.5, 0.99, 1.0))]


def _counts(kind: Kind) -> tuple[int, int, int]:
    return kind.failed, kind.refused, kind.degraded


def _plain(ledger: Ledger) -> Kind:
    whole = Kind()
    for name, kind in ledger.kinds.items():
        if name not in WRITTEN_BY_A_MODEL:
            whole.buckets.update(kind.buckets)
    return whole


def _ms(kind: Kind, share: float) -> float:
    return kind.percentile_ms(share) or 0.0


def _told(ledger: Ledger) -> dict[str, object]:
    return {
        name: {
            "calls": kind.calls,
            "failed": kind.failed,
            "refused": kind.refused,
            "degraded": kind.degraded,
            **{label: _ms(kind, share) for label, share in _SHARES.items()},
        }
        for name, kind in ledger.kinds.items()
    }


_SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "longest_ms": 1.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 where a call failed or an answer was mixed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="of load, without and with")
    parser.add_argument("--every", type=float, default=10, help="seconds between two swaps")
    parser.add_argument("--arrivals", type=float, default=20, help="calls a second")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--folder", type=Path, default=Path("var/swap"), help="made anew")
    chosen = parser.parse_args(arguments)
    folder: Path = chosen.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {
        "LLMREC_OBJECT_STORE__URL": f"file://{folder}/objects",
        "LLMREC_EVENT_STORE__URL": f"sqlite:///{folder}/events.db",
    }
    store = FolderStore(folder / "objects")  # not by settings: the environment would win over them
    marks = copies(open_objects(load_settings()), store)
    items = load_manifest(store, next(iter(marks))).items
    with local_cluster(port=chosen.port, environment=environment, timeout_s=START_S) as cluster:
        found = measure(
            cluster.url,
            marks,
            environment,
            seconds=chosen.seconds,
            arrivals=chosen.arrivals,
            every_s=chosen.every,
        )
    return report(found, items, vars(chosen) | {"folder": str(chosen.folder)})


def report(found: Found, items: int, settings: Mapping[str, object]) -> int:
    """Print what was found, write it, and say whether nothing went wrong."""
    say = Console(highlight=False, width=140)
    say.print(drawn(found))
    for name, ledger in (("steady", found.steady), ("with swaps", found.swapping)):
        for reason, count in ledger.reasons.most_common(10):
            say.print(f"  {name}: {count} × {reason}", markup=False)
    seconds = [swap.answered_s for swap in found.swaps]
    middle, most = statistics.median(seconds), max(seconds)
    say.print(f"{len(seconds)} swaps answered after {middle:.1f} s, {most:.1f} s at most")
    measured = {
        "items": items,
        "reasons": dict(found.swapping.reasons),
        "swaps": [asdict(swap) for swap in found.swaps],
        "steady": _told(found.steady),
        "swapping": _told(found.swapping),
    }
    write("swap", found.ratios(), measured, settings, ("ray", "locust", "numpy"))
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
