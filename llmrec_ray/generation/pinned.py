"""Which generation to ask for: from what is activated and what shards hold to one manifest."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from llmrec_ray.errors import GenerationMissing, NotReady
from llmrec_ray.generation.manifest import Manifest

T = TypeVar("T")


class Pinned:
    """The current and the previous manifest of one caller.

    It moves to what is activated only once every shard reports holding it, so a request asks for a
    generation that all can answer. Both manifests change in one assignment: readers need no lock.
    """

    def __init__(self) -> None:
        self._held: tuple[Manifest | None, Manifest | None] = (None, None)
        self._waiting: str | None = (
            "nothing was activated yet; publish a generation and run `llmrec generations activate`"
        )

    def offer(self, manifest: Manifest, held: Sequence[frozenset[str] | None]) -> bool:
        """Move to the newest activated manifest if every shard holds it; whether it is current now.

        `held` has the generations of each shard, None for one that did not report.
        """
        now, _ = self._held
        if now is not None and now.generation == manifest.generation:
            self._waiting = None
            return True
        self._waiting = _missing(manifest.generation, held)
        if self._waiting is None:
            self._held = (manifest, now)
        return self._waiting is None

    def current(self) -> Manifest:
        """What a request asks for; `NotReady` says what is waited for."""
        now, _ = self._held
        if now is None:
            raise NotReady(f"no generation is served yet: {self._waiting}.")
        return now

    def previous(self) -> Manifest | None:
        """What a request may ask for once more, where a shard does not hold the current one."""
        return self._held[1]

    async def ask(self, question: Callable[[Manifest], Awaitable[T]]) -> T:
        """What a question says of the current generation, or once more of another one.

        A shard that does not hold it raises `GenerationMissing`: then what is current by then is
        asked, for it may have changed since the question began, or else the previous one.
        """
        asked = self.current()
        try:
            return await question(asked)
        except GenerationMissing:
            for other in (self.current(), self.previous()):
                if other is not None and other.generation != asked.generation:
                    return await question(other)
            raise

    @property
    def waiting(self) -> str | None:
        """What keeps the newest activated generation from being current; None where it is."""
        return self._waiting


def _missing(generation: str, held: Sequence[frozenset[str] | None]) -> str | None:
    """Which shards do not hold the generation, in words; None where all do."""
    if not held:
        return f"no shard is there to hold {generation}"
    silent = [shard for shard, names in enumerate(held) if names is None]
    loading = [
        shard for shard, names in enumerate(held) if names is not None and generation not in names
    ]
    parts = [
        f"shards {shards} {state}"
        for shards, state in (
            (", ".join(map(str, loading)), f"still load {generation}"),
            (", ".join(map(str, silent)), f"have not reported whether they hold {generation}"),
        )
        if shards
    ]
    return " and ".join(parts) or None
