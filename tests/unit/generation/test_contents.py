"""What a published generation holds, read back."""

from llmrec_ray.generation.contents import draft_of
from llmrec_ray.generation.publish import publish
from llmrec_ray.storage.local import FolderStore
from tests.support.naive import catalogue
from tests.support.naive import draft_of as naive


def test_the_draft_of_a_generation_publishes_as_that_generation(store: FolderStore) -> None:
    for segments in (1, 4):
        made = publish(store, naive(catalogue(range(30), 1)), segments=segments)
        before = store.list("objects/")
        again = publish(store, draft_of(store, made), segments=segments)
        assert again == made
        assert store.list("objects/") == before
