"""`llmrec doctor`: from settings and a service to a table of what works, and what to do."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmrec_ray.cli.shared import Output, OutputOption, SettingsFile, print_rows, settings_of
from llmrec_ray.errors import InvalidSettings

if TYPE_CHECKING:
    from llmrec_ray.cli.checks import Check

Url = Annotated[
    str | None, typer.Option("--url", help="A running service, such as http://127.0.0.1:8000.")
]
EveryObject = Annotated[
    bool, typer.Option("--objects/--no-objects", help="Read every object of the generation.")
]


def doctor(
    url: Url = None,
    every_object: EveryObject = True,
    file: SettingsFile = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check settings, stores, generation, encoder and a running service; 1 where one fails.

    Writes one object below `doctor/` of the object store, and deletes it.
    """
    checks = _checks(url, every_object, file)
    rows = [{"check": one.name, "state": one.state, "says": one.says} for one in checks]
    print_rows(rows, output)
    if any(one.state == "fail" for one in checks):
        raise typer.Exit(1)


def _checks(url: str | None, every_object: bool, file: SettingsFile) -> "list[Check]":
    from llmrec_ray.cli.checks import Check, examine

    try:
        settings = settings_of(file)
    except InvalidSettings as error:
        return [Check("settings", "fail", str(error))]
    first = Check("settings", "ok", "every name and value can be used.")
    return [first, *examine(settings, url, every_object=every_object)]
