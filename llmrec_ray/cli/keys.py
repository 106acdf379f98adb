"""`llmrec keys`: a name and scopes in; a fresh API key out, and its entry for the list of keys."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from llmrec_ray.api_keys import KeyScope

app = typer.Typer(help="Make API keys.", no_args_is_help=True)


class Scope(StrEnum):
    """What a key may do; admin includes the others."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@app.callback()
def keys() -> None:
    """Make API keys."""  # a group of one command stays a group


@app.command()
def new(
    name: Annotated[str, typer.Option(help="Whose key it is; answers and logs may name it.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be given again.")],
) -> None:
    """Print a fresh key, once, to the error output, and to the output the entry of the key.

    The service knows the key by its entry: `llmrec keys new … >> FILE` adds it to the list of keys.
    """
    from llmrec_ray.api_keys import new_key

    scopes = cast("list[KeyScope]", [str(one) for one in dict.fromkeys(scope)])
    key, entry = new_key(name, scopes)
    typer.echo(f"The key of {name}. It is shown this once and stored nowhere:\n{key}", err=True)
    typer.echo(entry, nl=False)
