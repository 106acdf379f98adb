"""`llmrec train`: from stored events, or files of them, to a generation that is no worse."""

from pathlib import Path
from typing import Annotated

import typer

from llmrec_ray.cli.shared import SettingsFile, description_of, settings_of, writer

Catalog = Annotated[
    Path | None,
    typer.Option("--catalog", help="Learn from the event files of a description, not the store."),
]
EventFile = Annotated[
    Path | None,
    typer.Option("--events", help="An event file with the columns that --catalog describes."),
]
Activate = Annotated[bool, typer.Option(help="Make the generation current.")]
Force = Annotated[bool, typer.Option("--force", help="Publish a worse generation too.")]
Rejected = Annotated[Path, typer.Option(help="Where rows of files go that cannot be used.")]


def train(  # noqa: PLR0917 typer makes options of them
    catalog: Catalog = None,
    events: EventFile = None,
    activate: Activate = True,
    force: Force = False,
    rejected: Rejected = Path("var/rejected"),
    file: SettingsFile = None,
) -> None:
    """Learn anew on the current generation's items, and publish what came of it.

    First a candidate answers for events after the current generation's training. Where it is
    worse (the difference in NDCG@10, 95 % bound), nothing is published and the exit code is 3.
    """
    from contextlib import ExitStack

    from rich.console import Console

    from llmrec_ray.evaluation.past_events import file_events
    from llmrec_ray.evaluation.retrain import STEPS, Trainer, live_generation, retrain, summary
    from llmrec_ray.parts import open_events, open_objects

    if events is not None and catalog is None:
        raise typer.BadParameter("--events needs --catalog, which describes the file's columns.")
    settings = settings_of(file)
    objects = open_objects(settings)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    live = live_generation(objects)
    trainer = Trainer(objects, live, settings.learning, history=settings.users.history)
    with ExitStack() as opened:
        if catalog is None:
            source = opened.enter_context(open_events(settings))
        else:
            source = file_events(description_of(catalog, events), trainer.ids, rejected)
            console.print(str(source.report), style="dim", markup=False)
        made = retrain(
            trainer,
            objects,
            source,
            writer=writer(),
            force=force,
            activated=activate,
            told=lambda step: console.print(STEPS[step], style="dim"),
        )
    typer.echo(summary(made))
