"""`llmrec publish`: from a catalogue description to a generation, embedded in this process."""

from pathlib import Path
from typing import Annotated

import typer

from llmrec_ray.cli.shared import SettingsFile, settings_of, writer

Catalog = Annotated[Path, typer.Argument(help="A catalogue description (YAML).")]
Rejected = Annotated[Path, typer.Option(help="Where rows go that cannot be used.")]
Activate = Annotated[bool, typer.Option(help="Make the generation current.")]


def publish(
    catalog: Catalog,
    file: SettingsFile = None,
    rejected: Rejected = Path("var/rejected"),
    activate: Activate = True,
) -> None:
    """Read, clean, embed and learn a catalogue, and publish it as a generation.

    Embeds in this process; `python -m serve.ingest` does the same on a Ray cluster.
    """
    from rich.console import Console

    from llmrec_ray.cli.progress import stage_bars, summary
    from llmrec_ray.parts import load_embedder, open_events, open_objects
    from llmrec_ray.pipeline import Sources, ingest

    settings = settings_of(file)
    embedder = load_embedder(settings, cached=True)
    console = Console(highlight=False)
    with open_events(settings) as events, stage_bars(console) as told:
        made = ingest(
            catalog,
            Sources(open_objects(settings), events, writer(), events.items),
            embed=embedder.passages,
            encoder=embedder.info,
            learning=settings.learning,
            rejected=rejected,
            activated=activate,
            progress=told,
        )
    console.print(summary(made), markup=False)
