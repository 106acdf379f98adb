"""How far the pipeline is, as one bar a stage."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from llmrec_ray.pipeline import Ingested

STAGES = {
    "read": "Read and clean",
    "events": "Store events",
    "embed": "Embed texts",
    "learn": "Learn neighbours",
    "publish": "Publish",
}


@contextmanager
def stage_bars(console: "Console") -> Generator[Callable[[str, int, int], None]]:
    """Draws a bar as its stage begins; hand what it yields to the pipeline as `progress`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:

        def told(stage: str, done: int, size: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(STAGES[stage], total=size)
            progress.update(bars[stage], completed=done, total=size)

        yield told


def summary(made: "Ingested") -> str:
    """What a run read and made."""
    manifest, activation = made.manifest, made.activation
    state = f"current since activation {activation.number}" if activation else "not activated"
    counts = f"{manifest.items:,} items, {manifest.events:,} events"
    return "\n".join(
        [*map(str, made.reports), f"Generation {manifest.generation}: {counts}, {state}."]
    )
