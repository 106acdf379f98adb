"""`make load`: a service, running or started for it, in; a table, a report and an exit code out.

The service and locust are processes of their own. A service started here runs a no-op application
beside it, called in the same run, so that every figure stands beside what HTTP costs by itself.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import yaml
from rich.console import Console
from rich.table import Table

from loadtest.check import crossed, thresholds_of
from loadtest.ids import Ids, forget, prepare
from loadtest.ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("var/loadtest")
CONFIG = ROOT / "serve" / "config" / "local.yaml"
NOOP = {"name": "noop", "route_prefix": "/noop", "import_path": "loadtest.noop:app"}
CALLERS = (
    *("Recommend", "Evidence", "Session", "Similar", "Search"),
    *("Write", "Forget", "Stream"),
)
START_S = 300
STOP_S = 60
CAPACITY_CALLERS = 16
GREETING = "Serving on"
"""What `serve.up` says once every part runs."""


class NotUp(Exception):
    """There is no service to put load on; the message says why."""


@dataclass(frozen=True, slots=True)
class Done:
    """A locust run: what was counted, and the shares of all CPUs it and the machine took."""

    ledger: Ledger
    seconds: float
    client: float
    machine: float


@contextlib.contextmanager
def service(url: str, say: Console) -> Iterator[None]:
    """The service at this URL; one that does not answer is started, and stopped afterwards."""
    if _ready(url):
        say.print(f"The service at {url} is up.")
        yield
        return
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    config["applications"].append(NOOP)
    path = FOLDER / "serve.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    say.print(f"Starting the service on {url} …")
    port = str(httpx.URL(url).port or 80)
    command = [sys.executable, "-m", "serve.up", "--config", str(path), "--port", port]
    log = FOLDER / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=Path.cwd(), stdout=out, stderr=out)
    try:
        _wait(process, log)
        yield
    finally:
        process.terminate()
        process.wait(STOP_S)


def _ready(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    return False


def _has_noop(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError, ValueError):
        return httpx.get(f"{url}/noop/", timeout=5).json() == {"ok": True}
    return False


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while GREETING not in log.read_text("utf-8", "replace"):
        if process.poll() is not None or time.monotonic() > end:
            raise NotUp(f"the service did not come up:\n{log.read_text('utf-8', 'replace')}")
        time.sleep(0.5)


def locust(url: str, name: str, callers: list[str], options: list[str], seconds: float) -> Done:
    """Run locust once, in a process of its own."""
    result, report = FOLDER / f"{name}.json", FOLDER / f"{name}.html"
    result.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
        *("--host", url, "--html", str(report), "--result", str(result)),
        *("--ids", str(FOLDER / "ids.json"), "--seconds", str(seconds)),
        *("--stop-timeout", "30", "--only-summary", *options, *callers),
    ]
    psutil.cpu_percent()
    with (FOLDER / f"{name}.log").open("wb") as out:
        process = psutil.Popen(command, stdout=out, stderr=out)
        began, used = time.monotonic(), 0.0
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used = times.user + times.system
            time.sleep(0.2)
    if not result.exists():
        raise NotUp(f"locust did not run; its log is {FOLDER / name}.log")
    wall = time.monotonic() - began
    client = used / wall / (os.cpu_count() or 1)
    read = json.loads(result.read_text("utf-8"))
    return Done(Ledger.of_json(read), read["seconds"], client, psutil.cpu_percent() / 100)


# ── what it shows ────────────────────────────────────────────────────────────────────────────────


def table(ledger: Ledger, seconds: float) -> Table:
    """Each kind of call beside the no-op of the same run."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    drawn.add_column("call")
    for name in ("calls", "per s", "p50 ms", "p95 ms", "p99 ms", "p50 × no-op", "p95 × no-op"):
        drawn.add_column(name, justify="right")
    for name in ("failed", "refused", "degraded"):
        drawn.add_column(name, justify="right")
    noop = ledger.kinds.get("no-op")
    for name, kind in ledger.kinds.items():
        percentiles = [kind.percentile_ms(share) for share in (0.5, 0.95, 0.99)]
        ratios = [
            _ratio(kind.percentile_ms(share), noop and noop.percentile_ms(share))
            for share in (0.5, 0.95)
        ]
        drawn.add_row(
            *(name, str(kind.calls), f"{kind.calls / seconds:.1f}"),
            *("–" if ms is None else f"{ms:.1f}" for ms in percentiles),
            *ratios,
            *(str(kind.failed), str(kind.refused), str(kind.degraded)),
        )
    return drawn


def _ratio(ms: float | None, noop: float | None) -> str:
    return "–" if ms is None or not noop else f"{ms / noop:.1f}"


def _used(done: Done) -> str:
    cpus = os.cpu_count() or 1
    return f"client {done.client:.0%} of {cpus} CPUs, the whole machine {done.machine:.0%}"


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def run(chosen: argparse.Namespace, say: Console) -> int:
    """Put load on the service; 1 where a threshold is crossed."""
    url: str = chosen.url.rstrip("/")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with service(url, say), httpx.Client(base_url=url, timeout=60) as http:
        noop = ["Noop"] if _has_noop(url) else []
        ids = prepare(http, chosen.seed)
        ids.write(FOLDER / "ids.json")
        try:
            return _measured(url, noop, ids, chosen, say)
        finally:
            forget(http, ids)


def _measured(url: str, noop: list[str], ids: Ids, chosen: argparse.Namespace, say: Console) -> int:
    arrivals = chosen.arrivals * (2 if noop else 1)
    say.print(
        f"{chosen.shape}, {chosen.seconds:.0f} s, {chosen.arrivals:g} calls/s"
        f"{' and as many no-ops' if noop else ''}, {len(ids.readers)} users, {len(ids.items)} items"
    )
    options = ["--shape", chosen.shape, "--arrivals", str(arrivals), "--seed", str(chosen.seed)]
    done = locust(url, "result", [*CALLERS, *noop], options, chosen.seconds)
    say.print(table(done.ledger, done.seconds))
    say.print(_used(done))
    found = crossed(done.ledger, thresholds_of(chosen.shape))
    if chosen.capacity:
        most = _capacity(url, ["Recommend", *noop], chosen.capacity, say)
        found += crossed(most, thresholds_of("closed"))
        done.ledger.reasons.update(most.reasons)
    for reason, count in done.ledger.reasons.most_common(10):
        say.print(f"  {count} × {reason}", markup=False)
    say.print("\n".join(found) or "\nNo threshold is crossed.", markup=False)
    say.print(f"Report: {FOLDER / 'result.html'}, result: {FOLDER / 'result.json'}")
    return 1 if found else 0


def _capacity(url: str, callers: list[str], seconds: float, say: Console) -> Ledger:
    """What the service, and then the no-op alone, answers at most."""
    say.print(
        f"\nat most, with {CAPACITY_CALLERS} callers that wait for their answers, one by one:"
    )
    runs = [
        locust(
            *(url, f"closed-{caller.lower()}", [caller]),
            ["--shape", "closed", "--arrivals", str(CAPACITY_CALLERS)],
            seconds,
        )
        for caller in callers
    ]
    merged = Ledger()
    for one in runs:
        merged.add(one.ledger)
    say.print(table(merged, seconds))
    for caller, one in zip(callers, runs, strict=True):
        say.print(f"{caller}: {_used(one)}")
    return merged


def main(arguments: list[str] | None = None) -> int:
    """0 when no threshold is crossed, 1 when one is, 2 when there was nothing to load."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.run", description=main.__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--shape", choices=("steady", "ramp", "spike"), default="steady")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--arrivals", type=float, default=20, help="calls a second")
    parser.add_argument("--capacity", type=float, default=10, help="seconds at most; 0: none")
    parser.add_argument("--seed", type=int, default=0)
    say = Console(highlight=False)
    if not say.is_terminal:  # a log has no width of its own
        say = Console(highlight=False, width=120)
    try:
        return run(parser.parse_args(arguments), say)
    except (NotUp, ValueError, httpx.HTTPError) as error:
        say.print(str(error), style="red", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
