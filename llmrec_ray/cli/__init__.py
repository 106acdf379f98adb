"""The command line: arguments in; tables, JSON and exit codes out.

0: done. 1: a clear error, one line on stderr that ends with what to do. 2: wrong usage.
3: `llmrec train` made a worse generation and did not publish it. A command is one function in the
module of its group; a new group is one more `add_typer` here.
"""

import sys
from collections.abc import Sequence

import typer

from llmrec_ray.cli import (
    compact,
    consume,
    doctor,
    evaluate,
    events,
    generations,
    keys,
    publish,
    settings,
    train,
    users,
)
from llmrec_ray.errors import LLMRecError, WorseGeneration

app = typer.Typer(
    name="llmrec",
    help="A recommender that runs on your own Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("publish")(publish.publish)
app.command("compact")(compact.compact)
app.command("train")(train.train)
app.command("doctor")(doctor.doctor)
app.command("evaluate")(evaluate.evaluate)
app.command("consume")(consume.consume)
app.add_typer(generations.app, name="generations")
app.add_typer(events.app, name="events")
app.add_typer(users.app, name="users")
app.add_typer(keys.app, name="keys")
app.add_typer(settings.app, name="settings")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        app(args=arguments)
    except LLMRecError as error:
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("error:", *str(error).split(), style="red", markup=False)
        sys.exit(3 if isinstance(error, WorseGeneration) else 1)
