"""A catalogue description in, an activated generation out, its texts embedded on Ray Data.

`python -m serve.ingest CATALOG.yaml [--settings FILE] [--address RAY]`
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray
import ray.data
from rich.console import Console

from llmrec_ray.cli.progress import stage_bars, summary
from llmrec_ray.cli.shared import writer
from llmrec_ray.errors import LLMRecError, Unavailable
from llmrec_ray.parts import load_embedder, open_events, open_objects
from llmrec_ray.pipeline import Ingested, Sources, ingest
from llmrec_ray.settings import Settings, load_settings
from serve.embedding import Encoders, Late, require_cpus
from serve.ray_process import LOCAL, ROOT


def ingest_on_ray(
    description: Path, settings: Settings, rejected: Path, told: Callable[[str, int, int], None]
) -> Ingested:
    """Run the pipeline; Ray must be up. Raises `NoFreeCPU` within seconds where it is full."""
    workers = settings.embedding.workers
    require_cpus(workers)
    embed = Late(partial(load_embedder, settings, cached=True))
    encoders = Encoders(embed, workers)
    with open_events(settings) as events:
        return ingest(
            description,
            Sources(open_objects(settings), events, writer(), events.items),
            embed=embed,
            pool=encoders.pool,
            encoder=encoders.info(),
            learning=settings.learning,
            rejected=rejected,
            progress=told,
        )


def start(address: str | None, workers: int) -> None:
    """Join the cluster at `address`, or start Ray in this process for the length of the run.

    Ray started here gets one logical CPU more than the encoders take: the tasks that feed them.
    """
    environment = {**LOCAL, "PYTHONPATH": str(ROOT)}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            num_cpus=None if address else workers + 1,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": environment},
        )
    except (ConnectionError, ValueError, RuntimeError) as cause:
        problem = (
            f"no Ray cluster answers at {address}" if address else "Ray could not be started here"
        )
        raise Unavailable(f"{problem}: {cause}") from cause
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.WARNING)


@contextmanager
def stderr_to(log: Path) -> Generator[None]:
    """What this process and Ray's core write to stderr goes to a file, so that bars stay whole."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    before = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


def main(arguments: list[str] | None = None) -> int:
    """Ingest a catalogue; 0 when a new generation is current, 1 with the reason when it is not."""
    parser = argparse.ArgumentParser(prog="python -m serve.ingest", description=main.__doc__)
    parser.add_argument("catalog", type=Path, help="a catalogue description (YAML)")
    parser.add_argument("--settings", type=Path, help="a settings file (YAML)")
    parser.add_argument("--address", help="a running Ray cluster; none: Ray starts here")
    parser.add_argument("--rejected", type=Path, default=Path("var/rejected"))
    parser.add_argument("--log", type=Path, default=Path("var/ingest.log"), help="what Ray says")
    chosen = parser.parse_args(arguments)
    console = Console()
    try:
        settings = load_settings(chosen.settings)
        with stderr_to(chosen.log), stage_bars(console) as told:
            start(chosen.address, settings.embedding.workers)
            made = ingest_on_ray(chosen.catalog, settings, chosen.rejected, told)
    except LLMRecError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    finally:
        ray.shutdown()
    console.print(summary(made), markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
