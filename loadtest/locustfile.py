"""locust's entry: options in, a run of the callers in `users`, its result and exit code out."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.check import THRESHOLDS, crossed, thresholds_of
from loadtest.ids import IDS, Ids
from loadtest.ledger import Ledger
from loadtest.shapes import NAMES, Profile
from loadtest.users import (
    Evidence,
    Forget,
    Noop,
    Recommend,
    Run,
    Search,
    Session,
    Similar,
    Stream,
    Write,
)

__all__ = [
    "Arrivals",
    "Evidence",
    "Forget",
    "Noop",
    "Recommend",
    "Search",
    "Session",
    "Similar",
    "Stream",
    "Write",
]


class Arrivals(LoadTestShape):
    """As many callers at each second as the profile has arrivals for."""

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        profile = Profile(options.shape, options.arrivals, options.seconds)
        callers = profile.callers(self.get_run_time())
        return None if callers is None else (callers, float(max(callers, 1)))


@events.init_command_line_parser.add_listener
def options(parser: argparse.ArgumentParser) -> None:
    """What a run can be told; plain texts and numbers, as locust sends them on to workers."""
    parser.add_argument("--shape", choices=NAMES, default="steady")
    parser.add_argument(
        "--arrivals", type=float, default=40, help="calls a second; closed: callers"
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ids", default=str(IDS), help="what `loadtest.ids prepare` wrote")
    parser.add_argument(
        "--marks", default="{}", help="JSON: what the titles of each generation begin with"
    )
    parser.add_argument("--thresholds", default=str(THRESHOLDS))
    parser.add_argument("--result", default="var/loadtest/result.json")


@events.init.add_listener
def start(environment: Environment, **_: Any) -> None:
    """Read the ids, and let the ledgers of workers come together at the master."""
    chosen = environment.parsed_options
    assert chosen is not None
    run = Run(Ids.read(Path(chosen.ids)), chosen.seed, chosen.shape != "closed")
    run.marks = json.loads(chosen.marks)
    environment.shared = run  # pyright: ignore[reportAttributeAccessIssue]
    since = time.perf_counter()

    def give(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001
        data["ledger"] = run.ledger.to_json()
        run.ledger = Ledger()

    def take(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001
        run.ledger.add(Ledger.of_json(data["ledger"]))

    def finish(**_: Any) -> None:
        if isinstance(environment.runner, WorkerRunner):
            return
        result = {
            "profile": chosen.shape,
            "arrivals": chosen.arrivals,
            "seconds": min(chosen.seconds, time.perf_counter() - since),
            **run.ledger.to_json(),
        }
        path = Path(chosen.result)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1), "utf-8")
        thresholds = thresholds_of(chosen.shape, Path(chosen.thresholds))
        environment.process_exit_code = 1 if crossed(run.ledger, thresholds) else 0

    environment.events.report_to_master.add_listener(give)
    environment.events.worker_report.add_listener(take)
    environment.events.quitting.add_listener(finish)
