"""`llmrec events`: exports of the stored events out; one event's id in, and it is forgotten."""

from typing import Annotated

import typer

from llmrec_ray.cli.shared import (
    Output,
    OutputOption,
    SettingsFile,
    print_receipt,
    print_rows,
    settings_of,
)

app = typer.Typer(help="Export and forget events.", no_args_is_help=True)

Name = Annotated[str | None, typer.Option(help="The export's name; without it, the time of now.")]
Event = Annotated[str, typer.Argument(help="The event's id.")]


@app.command()
def export(
    name: Name = None, file: SettingsFile = None, output: OutputOption = Output.TABLE
) -> None:
    """Write every stored event to Parquet objects below exports/ of the object store."""
    from datetime import UTC, datetime

    from llmrec_ray.feedback.exports import export_events, export_name
    from llmrec_ray.parts import open_events, open_objects

    settings = settings_of(file)
    with open_events(settings) as events:
        chosen = name or export_name(datetime.now(UTC))
        made = export_events(open_objects(settings), events, chosen)
    rows = [{"export": made.name, "object": key} for key in made.keys]
    print_rows(rows, output, "No event is stored: nothing was written.")


@app.command()
def forget(event: Event, file: SettingsFile = None, output: OutputOption = Output.TABLE) -> None:
    """Forget one event, and the recommendations that may have been computed from it."""
    from llmrec_ray.online.forgetting import forget_event
    from llmrec_ray.parts import open_events, open_objects

    settings = settings_of(file)
    with open_events(settings) as events:
        print_receipt(forget_event(events, open_objects(settings), event), output)
