"""Following the activations: from an object store to the manifest that is current now."""

from llmrec_ray.generation.activation import Activation, current
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.generation.published import load_manifest
from llmrec_ray.ports import ObjectStore


class Follower:
    """Looks for the newest activation; one small read where nothing changed."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._seen: Activation | None = None
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest | None:
        """What the last poll that succeeded found; it stays when a poll raises."""
        return self._manifest

    def poll(self) -> Manifest | None:
        """The manifest that is current now; None where nothing was activated yet.

        Raises what the store or the manifest gives cause for (`StoreUnavailable`, `Corrupt`,
        `GenerationNotFound`); the next poll looks again.
        """
        newest = current(self._store, self._seen)
        if newest is None:
            return None
        held = self._manifest
        if held is None or held.generation != newest.generation:
            self._manifest = load_manifest(self._store, newest.generation)
        self._seen = newest
        return self._manifest
