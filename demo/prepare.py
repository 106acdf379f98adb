"""`python -m demo.prepare`: ingests the film catalogue, unless there is something to serve."""

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from demo.films import DESCRIPTION, make
from llmrec_ray.generation.activation import current
from llmrec_ray.parts import open_objects
from llmrec_ray.settings import load_settings

FOLDER = Path("var/demo")


def prepare(console: Console) -> int:
    """Leave what is served as it is; where nothing is, make the films and publish them."""
    active = current(open_objects(load_settings()))
    if active is not None:
        console.print(f"Generation {active.generation} is current: nothing to ingest.")
        return 0
    console.print(f"[bold]Catalogue[/]: {make(FOLDER)}", soft_wrap=True)
    workers = f"LLMREC_EMBEDDING__WORKERS={os.cpu_count() or 1}"
    ingest = [sys.executable, "-m", "serve.ingest", str(FOLDER / DESCRIPTION)]
    return subprocess.run(["env", workers, *ingest], check=False).returncode


if __name__ == "__main__":
    sys.exit(prepare(Console(highlight=False)))
