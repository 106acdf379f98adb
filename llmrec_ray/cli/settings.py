"""`llmrec settings`: from a file and the environment to what the service would read."""

import json
import re

import typer

from llmrec_ray.cli.shared import Output, OutputOption, SettingsFile, print_rows, settings_of

app = typer.Typer(help="Look at the settings.", no_args_is_help=True)


@app.command()
def show(file: SettingsFile = None, output: OutputOption = Output.TABLE) -> None:
    """What is in force: the file, overridden by the environment. Passwords are left out."""
    values = settings_of(file).model_dump(mode="json")
    if output is Output.JSON:
        typer.echo(_without_passwords(json.dumps(values, indent=2, ensure_ascii=False)))
        return
    rows = [
        {"setting": f"{section}.{name}", "value": _without_passwords(_shown(value))}
        for section, entries in values.items()
        for name, value in entries.items()
    ]
    print_rows(rows, output)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _without_passwords(text: str) -> str:
    """A database's URL may hold a password, which may hold anything but a quote."""
    return re.sub(r'(://[^:/@\s"]*):[^\s"]*@', r"\1:…@", text)
