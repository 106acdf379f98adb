"""`llmrec generations`: from an object store to what it holds, checks of it, and activations."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from llmrec_ray.cli.shared import (
    Output,
    OutputOption,
    Row,
    SettingsFile,
    object_store,
    print_rows,
    writer,
)
from llmrec_ray.errors import Corrupt, GenerationNotFound
from llmrec_ray.generation.retention import GRACE_HOURS, KEEP, Retention

if TYPE_CHECKING:
    from llmrec_ray.generation.activation import Activation
    from llmrec_ray.generation.collection import Garbage
    from llmrec_ray.generation.manifest import Manifest
    from llmrec_ray.ports import ObjectStore

app = typer.Typer(help="List, check, activate and collect generations.", no_args_is_help=True)

Generation = Annotated[str, typer.Argument(help="Its id, such as g-0123456789ab.")]


@app.command("list")
def list_(file: SettingsFile = None, output: OutputOption = Output.TABLE) -> None:
    """Every published generation, oldest first, and which one is current."""
    from llmrec_ray.generation.activation import current
    from llmrec_ray.generation.published import list_generations

    store = object_store(file)
    active = current(store)
    rows = [
        _listed(store, name, active is not None and active.generation == name)
        for name in list_generations(store)
    ]
    rows.sort(key=lambda row: str(row["created_at"]))
    print_rows(rows, output, "No generation was published yet.")


@app.command()
def show(
    generation: Generation, file: SettingsFile = None, output: OutputOption = Output.TABLE
) -> None:
    """One generation: what it was made of, and what it stores. JSON is its manifest."""
    from llmrec_ray.generation.published import load_manifest

    manifest = load_manifest(object_store(file), generation)
    if output is Output.JSON:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        print_rows(_described(manifest), output)


@app.command()
def activate(
    generation: Generation, file: SettingsFile = None, output: OutputOption = Output.TABLE
) -> None:
    """Make a published generation current; a running service takes it up by itself."""
    from llmrec_ray.generation import activation

    made = activation.activate(object_store(file), generation, writer())
    print_rows([_activated(made)], output)


@app.command()
def rollback(file: SettingsFile = None, output: OutputOption = Output.TABLE) -> None:
    """Make the generation current that was so before the current one."""
    from llmrec_ray.generation import activation

    made = activation.rollback(object_store(file), writer())
    print_rows([_activated(made)], output)


@app.command()
def verify(
    generation: Annotated[
        str | None, typer.Argument(help="Its id; without it, the current one.")
    ] = None,
    *,
    remove_damaged: Annotated[
        bool,
        typer.Option("--remove-damaged", help="Delete what is damaged: a publish restores it."),
    ] = False,
    file: SettingsFile = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare every object with its checksum; exits with 1 where something is wrong."""
    from llmrec_ray.generation import published

    store = object_store(file)
    name = generation or _current(store)
    problems = published.verify(store, name)
    rows = [{"object": found.key, "problem": found.problem} for found in problems]
    print_rows(rows, output, f"{name}: every object is there and matches its checksum.")
    if not problems:
        return
    if not remove_damaged:
        raise Corrupt(
            f"{len(problems)} damaged objects in {name}. Run this again with --remove-damaged and"
            " publish again, or roll back."
        )
    for found in problems:
        store.delete(found.key)
    raise Corrupt(f"{len(problems)} damaged objects of {name} are removed now. Publish again.")


@app.command()
def gc(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show.")] = False,
    keep: Annotated[
        int, typer.Option(min=1, help="How many of the generations that were current last stay.")
    ] = KEEP,
    grace_hours: Annotated[
        float, typer.Option(min=1, help="What was written or current within that time stays.")
    ] = GRACE_HOURS,
    file: SettingsFile = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete generations that nobody needs, and what interrupted publishes left.

    The current generation and every object that a remaining one names always stay.
    """
    from llmrec_ray.generation.collection import collect_garbage, find_garbage

    store = object_store(file)
    retention = Retention(keep, timedelta(hours=grace_hours))
    left = 0
    if yes:
        collected = collect_garbage(store, retention)
        garbage, left = collected.deleted, collected.left
    else:
        garbage = find_garbage(store, retention)
    print_rows(_garbage(garbage, deleted=yes), output, "There is nothing to delete.")
    if left:
        typer.echo(f"{left} objects are left: run this again.", err=True)
    if garbage.sizes and not yes:
        typer.echo("Nothing was deleted yet: run this again with --yes.", err=True)


def _garbage(garbage: "Garbage", *, deleted: bool) -> list[Row]:
    if not garbage.sizes:
        return []
    return [
        {
            "generations": ", ".join(garbage.generations),
            "objects": garbage.objects,
            "bytes": garbage.bytes,
            "deleted": deleted,
        }
    ]


def _current(store: "ObjectStore") -> str:
    from llmrec_ray.generation.activation import current

    if (active := current(store)) is None:
        raise GenerationNotFound("no generation is active. Name the one to verify.")
    return active.generation


def _activated(made: "Activation") -> Row:
    return {
        "generation": made.generation,
        "number": made.number,
        "at": made.at.isoformat(timespec="seconds"),
        "writer": made.writer,
    }


def _listed(store: "ObjectStore", name: str, active: bool) -> Row:
    """A row of the list; one manifest that cannot be read does not hide the others."""
    from llmrec_ray.generation.published import load_manifest

    row = {"generation": name, "current": active}
    try:
        manifest = load_manifest(store, name)
    except Corrupt as error:
        return row | {"created_at": None, "items": None, "events": None, "encoder": str(error)}
    return row | {
        "created_at": manifest.created_at.isoformat(sep=" ", timespec="seconds"),
        "items": manifest.items,
        "events": manifest.events,
        "encoder": manifest.encoder.name,
    }


def _described(manifest: "Manifest") -> list[Row]:
    refs = {ref.key: ref for segment in manifest.segments for ref in segment.objects.values()}
    facts = {
        "generation": manifest.generation,
        "created at": manifest.created_at.isoformat(sep=" ", timespec="seconds"),
        "items": f"{manifest.items:,}",
        "events": f"{manifest.events:,}",
        "trained until": manifest.trained_until and manifest.trained_until.isoformat(sep=" "),
        "encoder": f"{manifest.encoder.name}, {manifest.encoder.dim} dimensions",
        "fields": ", ".join(f"{name} ({spec.kind})" for name, spec in manifest.fields.items()),
        "channels": ", ".join(
            f"{each.name} ({each.dim} dimensions)" if each.dim else each.name
            for each in manifest.channels
        ),
        "segments": f"{len(manifest.segments):,}",
        "objects": f"{len(refs):,}",
        "bytes": f"{sum(ref.bytes for ref in refs.values()):,}",
    }
    return [{"": name, "value": value} for name, value in facts.items()]
