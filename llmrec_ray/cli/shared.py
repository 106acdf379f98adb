"""What commands share: their options, the stores that settings name, and printing."""

import json
import platform
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from llmrec_ray.catalog.description import CatalogDescription
    from llmrec_ray.online.forgetting import Receipt
    from llmrec_ray.ports import ObjectStore
    from llmrec_ray.settings import Settings


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", help="A YAML file; without it, the one LLMREC_SETTINGS names."),
]
OutputOption = Annotated[Output, typer.Option("--output", help="A table, or JSON for programs.")]

Row = Mapping[str, str | int | float | bool | None]


def settings_of(file: Path | None) -> "Settings":
    """The settings of a command."""
    from llmrec_ray.settings import load_settings

    return load_settings(file)


def object_store(file: Path | None) -> "ObjectStore":
    """The object store that the settings name."""
    from llmrec_ray.parts import open_objects

    return open_objects(settings_of(file))


def description_of(catalog: Path, events: Path | None) -> "CatalogDescription":
    """A catalogue description, with `events` in the place of its own event files where given."""
    from llmrec_ray.catalog.description import load_description
    from llmrec_ray.errors import InvalidCatalog

    described = load_description(catalog)
    if events is None:
        return described
    if described.events is None:
        raise InvalidCatalog(
            f"{catalog} does not say what the columns of {events} are. Add `events:` with `files`,"
            " `type` and `columns`.",
            file=str(catalog),
            field="events",
        )
    try:
        described.events.format_of(events)
    except ValueError as cause:
        raise InvalidCatalog(f"--events {events}: {cause}.", file=str(events)) from cause
    replaced = described.events.model_copy(update={"files": (str(events.resolve()),)})
    return described.model_copy(update={"events": replaced})


def writer() -> str:
    """Who writes, for those who read the activations later."""
    return f"llmrec on {platform.node()}"


def print_rows(rows: Sequence[Row], output: Output, empty: str = "") -> None:
    """The rows as a table, or as a JSON list; `empty` is said where a table would have none."""
    if output is Output.JSON:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        _print_table(rows)
    else:
        typer.echo(empty)


def print_receipt(receipt: "Receipt", output: Output) -> None:
    """What an erasure removed, without the id."""
    row: Row = {
        "erased_at": receipt.erased_at.isoformat(timespec="seconds"),
        "events": receipt.events,
        "recommendations": receipt.recommendations,
        "exports": receipt.exports,
        "trained_with": ", ".join(receipt.trained_with),
    }
    print_rows([row], output)


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    first, *others = rows[0]
    table = Table()
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    Console().print(table)


def _shown(value: str | float | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else str(value)
