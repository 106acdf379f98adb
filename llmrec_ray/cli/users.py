"""`llmrec users`: a user id in; everything stored about the user gone, and a receipt out."""

from typing import Annotated

import typer

from llmrec_ray.cli.shared import Output, OutputOption, SettingsFile, print_receipt, settings_of

app = typer.Typer(help="Forget users.", no_args_is_help=True)

User = Annotated[str, typer.Argument(help="The user's id, as events have it.")]


@app.callback()
def users() -> None:
    """Forget users."""  # a group of one command stays a group


@app.command()
def forget(user: User, file: SettingsFile = None, output: OutputOption = Output.TABLE) -> None:
    """Forget a user: events, recommendations, exports. A running service follows by itself."""
    from llmrec_ray.online.forgetting import forget_user
    from llmrec_ray.parts import open_events, open_objects

    settings = settings_of(file)
    with open_events(settings) as events:
        print_receipt(forget_user(events, open_objects(settings), user), output)
