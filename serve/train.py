"""Stored events in, a generation that is no worse out, its large steps run on a Ray cluster.

`python -m serve.train [--settings FILE] [--address RAY] [--force] [--no-activate]`
"""

import argparse
import sys
from pathlib import Path

import ray
from rich.console import Console

from llmrec_ray.cli.shared import writer
from llmrec_ray.errors import LLMRecError, WorseGeneration
from llmrec_ray.evaluation.retrain import STEPS, Trainer, live_generation, retrain, summary
from llmrec_ray.parts import open_events, open_objects
from llmrec_ray.settings import load_settings
from serve.embedding import require_cpus
from serve.ingest import start, stderr_to
from serve.learning import on_ray


def main(arguments: list[str] | None = None) -> int:
    """Train as `llmrec train` does; 0 when published, 3 when it was worse, 1 for other reasons."""
    parser = argparse.ArgumentParser(prog="python -m serve.train", description=main.__doc__)
    parser.add_argument("--settings", type=Path, help="a settings file (YAML)")
    parser.add_argument("--address", help="a running Ray cluster; none: Ray starts here")
    parser.add_argument("--force", action="store_true", help="publish a worse generation too")
    parser.add_argument("--no-activate", action="store_true", help="do not make it current")
    parser.add_argument("--log", type=Path, default=Path("var/train.log"), help="what Ray says")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        settings = load_settings(chosen.settings)
        objects = open_objects(settings)
        live = live_generation(objects)
        with stderr_to(chosen.log), open_events(settings) as events:
            start(chosen.address, settings.embedding.workers)
            require_cpus(1)
            history = settings.users.history
            made = retrain(
                Trainer(objects, live, settings.learning, history=history, spread=on_ray),
                objects,
                events,
                writer=writer(),
                force=chosen.force,
                activated=not chosen.no_activate,
                told=lambda step: console.print(STEPS[step], style="dim"),
            )
    except LLMRecError as error:
        console.print(str(error), style="red", markup=False)
        return 3 if isinstance(error, WorseGeneration) else 1
    finally:
        ray.shutdown()
    console.print(summary(made), markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
