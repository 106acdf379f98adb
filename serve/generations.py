"""The published generations over HTTP: which there are, and which one is made current."""

import asyncio
import uuid
from collections.abc import Callable

from llmrec_ray.generation.activation import activate, current, require_encoder
from llmrec_ray.generation.published import list_generations, load_manifest
from llmrec_ray.ports import EncoderInfo, ObjectStore
from serve.http.answers import ActivationAnswer, GenerationsAnswer


class StoredGenerations:
    """Reads and writes the object store in threads; a generation must fit the pool's `encoder`."""

    def __init__(self, store: ObjectStore, encoder: Callable[[], EncoderInfo | None]) -> None:
        self._store = store
        self._encoder = encoder

    async def listed(self, serving: str | None) -> GenerationsAnswer:
        return await asyncio.to_thread(self._listed, serving)

    async def activate(self, generation: str) -> ActivationAnswer:
        """Raises `GenerationNotFound`, and `EncoderMismatch` before anything is changed."""
        return await asyncio.to_thread(self._activate, generation)

    def _listed(self, serving: str | None) -> GenerationsAnswer:
        newest = current(self._store)
        return GenerationsAnswer(
            current=newest.generation if newest else None,
            serving=serving,
            generations=list_generations(self._store),
        )

    def _activate(self, generation: str) -> ActivationAnswer:
        manifest = load_manifest(self._store, generation)
        if (encoder := self._encoder()) is not None:
            require_encoder(manifest, encoder)
        made = activate(self._store, generation, uuid.uuid4().hex)
        return ActivationAnswer(generation=made.generation, number=made.number)
