"""`llmrec evaluate`: from a catalogue description and events to a table and a JSON report."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from llmrec_ray.cli.shared import Output, SettingsFile, description_of, print_rows, settings_of
from llmrec_ray.errors import InvalidInput


class ProtocolName(StrEnum):
    """What is asked for: docs/evaluation.md."""

    WARM = "warm"
    LOO = "loo"
    COLD_ITEMS = "cold-items"
    COLD_USERS = "cold-users"
    REPLAY = "replay"


CatalogOption = Annotated[Path, typer.Option("--catalog", help="A catalogue description (YAML).")]
EventsOption = Annotated[
    Path | None,
    typer.Option("--events", help="An event file with the described columns, instead of theirs."),
]
ProtocolOption = Annotated[ProtocolName, typer.Option("--protocol", help="What is asked for.")]
Out = Annotated[Path, typer.Option("--out", help="Where the JSON report goes.")]
RelevantFrom = Annotated[
    float | None,
    typer.Option(help="The least value of a relevant event; else three quarters up the scale."),
]
SasrecPython = Annotated[
    Path | None,
    typer.Option(help="Adds the peer SASRec: the Python that has rectools (docs/evaluation.md)."),
]
Seed = Annotated[int, typer.Option(help="For what is drawn: items, users, resamples.")]


def evaluate(  # noqa: PLR0917 typer makes options of them
    catalog: CatalogOption,
    protocol: ProtocolOption,
    out: Out,
    events: EventsOption = None,
    relevant_from: RelevantFrom = None,
    seed: Seed = 13,
    sasrec_python: SasrecPython = None,
    file: SettingsFile = None,
) -> None:
    """Hold events back, learn from the others, and see who ranks what was held back best.

    Ranks every item for every user, beside simple peers; writes intervals and paired tests.
    """
    from rich.console import Console

    from llmrec_ray.evaluation.data import read_data
    from llmrec_ray.evaluation.ours import Ours
    from llmrec_ray.evaluation.peers import peers_of
    from llmrec_ray.evaluation.report import report, rows
    from llmrec_ray.evaluation.run import evaluate as evaluated
    from llmrec_ray.evaluation.sasrec import checked
    from llmrec_ray.evaluation.splits import split
    from llmrec_ray.parts import load_embedder

    if not out.parent.is_dir():
        raise InvalidInput(f"--out {out}: the folder {out.parent} is missing. Make it first.")
    sasrec = checked(sasrec_python) if sasrec_python else None
    described = description_of(catalog, events)
    settings = settings_of(file)
    console = Console(stderr=True, highlight=False)
    embedder = load_embedder(settings, cached=True)
    console.print("reading", style="dim")
    data = read_data(described, embedder.passages, embedder.info, relevant_from=relevant_from)
    made = split(data, protocol.value, seed)
    peers, left_out = peers_of(protocol.value, len(made.catalog), sasrec)
    systems = (Ours(settings.learning, settings.users.history), *peers)
    found = evaluated(made, systems, seed, lambda name: console.print(name, style="dim"))
    for tried in found.tried:
        typer.echo(f"{tried.name}: {tried.users} users, {tried.candidates} items")
        print_rows(rows(tried), Output.TABLE)
    for name, reason in left_out.items():
        typer.echo(f"left out: {name}, {reason}")
    told = {"catalog": str(catalog), "events": str(events) if events else None}
    written = {**told, **report(data, made, systems, found, left_out)}
    out.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", "utf-8")
    typer.echo(f"Written to {out}.")
