"""A catalogue description in, an activated generation out, its texts embedded on Ray Data.

`python -m serve.ingest CATALOG.yaml [--settings FILE] [--address RAY]`
"""

import argparse
import logging
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray
import ray.data
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from llmrec_ray.embedding.cache import CachedEmbedder
from llmrec_ray.errors import LLMRecError, Unavailable
from llmrec_ray.pipeline import Ingested, Sources, ingest
from llmrec_ray.ports import Embedder
from llmrec_ray.settings import Settings, load_settings
from llmrec_ray.types import Float32s
from serve.embedding import embed, encoder_info, require_cpus
from serve.parts import load_embedder, open_events, open_objects
from serve.ray_process import LOCAL, ROOT

CHUNK = 512  # texts an actor gets at once: the encoder sorts them by length
STAGES = {
    "read": "Read and clean",
    "events": "Store events",
    "embed": "Embed texts",
    "learn": "Learn neighbours",
    "publish": "Publish",
}


def ingest_on_ray(
    description: Path, settings: Settings, told: Callable[[str, int, int], None]
) -> Ingested:
    """Run the pipeline; Ray must be up. Raises `NoFreeCPU` within seconds where it is full."""
    workers = settings.embedding.workers
    require_cpus(workers)
    load = partial(_cached_embedder, settings)

    def embedded(texts: Sequence[str]) -> Float32s:
        told("embed", 0, len(texts))
        return embed(
            texts,
            load,
            workers=workers,
            batch=CHUNK,
            progress=lambda done, size: told("embed", done, size),
        )

    return ingest(
        description,
        Sources(open_objects(settings), open_events(settings), f"ingest@{socket.gethostname()}"),
        embed=embedded,
        encoder=encoder_info(load),
        learning=settings.learning,
        rejected=Path("var/rejected"),
        progress=told,
    )


def _cached_embedder(settings: Settings) -> Embedder:
    return CachedEmbedder(load_embedder(settings), settings.embedding.cache)


def start(address: str | None) -> None:
    """Join the cluster at `address`, or start Ray in this process for the length of the run."""
    environment = {**LOCAL, "PYTHONPATH": str(ROOT)}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": environment},
        )
    except (ConnectionError, ValueError, RuntimeError) as cause:
        raise Unavailable(f"no Ray cluster answers at {address}: {cause}") from cause
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def main(arguments: list[str] | None = None) -> int:
    """Ingest a catalogue; 0 when a new generation is current, 1 with the reason when it is not."""
    parser = argparse.ArgumentParser(prog="python -m serve.ingest", description=main.__doc__)
    parser.add_argument("catalog", type=Path, help="a catalogue description (YAML)")
    parser.add_argument("--settings", type=Path, help="a settings file (YAML)")
    parser.add_argument("--address", help="a running Ray cluster; none: Ray starts here")
    chosen = parser.parse_args(arguments)
    console = Console()
    try:
        settings = load_settings(chosen.settings)
        start(chosen.address)
        with _progress(console) as told:
            made = ingest_on_ray(chosen.catalog, settings, told)
    except LLMRecError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    finally:
        ray.shutdown()
    for report in made.reports:
        console.print(str(report), markup=False, highlight=False)
    manifest = made.manifest
    console.print(
        f"Generation {manifest.generation}: {manifest.items} items, {manifest.events} events,"
        f" current since activation {made.activation.number}.",
        highlight=False,
    )
    return 0


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """One bar a stage, drawn as the stage begins."""
    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:

        def told(stage: str, done: int, size: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(STAGES.get(stage, stage), total=size)
            progress.update(bars[stage], completed=done, total=size)

        yield told


if __name__ == "__main__":
    sys.exit(main())
