"""`llmrec compact`: live items in the event store in, a generation that holds them out."""

import typer

from llmrec_ray.cli.shared import (
    Output,
    OutputOption,
    SettingsFile,
    print_rows,
    settings_of,
    writer,
)


def compact(file: SettingsFile = None, output: OutputOption = Output.TABLE) -> None:
    """Fold the items that were put and deleted live into a new generation, and make it current.

    Nothing is trained; run it as often as you like, and again after any failure.
    """
    from collections.abc import Sequence

    from rich.console import Console

    from llmrec_ray import compaction
    from llmrec_ray.cli.progress import stage_bars
    from llmrec_ray.generation.activation import current, require_encoder
    from llmrec_ray.generation.published import load_manifest
    from llmrec_ray.parts import load_embedder, open_events, open_objects
    from llmrec_ray.types import Float32s

    settings = settings_of(file)
    objects = open_objects(settings)

    def embed(texts: Sequence[str]) -> Float32s:
        embedder = load_embedder(settings, cached=True)
        if (active := current(objects)) is not None:
            require_encoder(load_manifest(objects, active.generation), embedder.info)
        return embedder.passages(texts)

    with open_events(settings) as events, stage_bars(Console(stderr=True)) as told:
        made = compaction.compact(
            objects,
            events.items,
            writer(),
            embed,
            progress=lambda done, size: told("publish", done, size),
        )
    if made is None:
        typer.echo("Nothing to fold: no item was put or deleted since the current generation.")
        return
    row = {
        "generation": made.manifest.generation,
        "items": made.manifest.items,
        "stored": made.stored,
        "deleted": made.deleted,
        "item_seq": made.manifest.item_seq,
        "activation": made.activation.number,
    }
    print_rows([row], output)
