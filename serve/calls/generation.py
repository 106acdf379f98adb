"""The generator's deployment as the port of the library: a prompt in, pieces of text out."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from llmrec_ray.errors import GeneratorUnavailable
from llmrec_ray.ports import Prompt


class PoolGenerator:
    """The `Generator` port over the deployment; closing the iterator cancels the generation.

    While `runs` says that no replica is there nothing waits for one, and `wake` calls for one.
    """

    def __init__(
        self,
        call: Callable[[Prompt], AsyncIterator[str]],
        *,
        runs: Callable[[], bool] = lambda: True,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._call = call
        self._runs = runs
        self._wake = wake

    async def generate(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        """Pieces of text until the model ends; how long that may take is the caller's to say."""
        if not self._runs():
            self._wake()
            raise GeneratorUnavailable("no replica of the generator runs now.")
        pieces = self._call(prompt)
        finished = False
        try:
            while True:
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    finished = True
                    return
                except Exception as cause:
                    raise GeneratorUnavailable("the generator does not answer.") from cause
                yield piece
        finally:
            if not finished:
                await _end(pieces)


async def _end(pieces: AsyncIterator[str]) -> None:
    """End a stream early: Serve's responses have `cancel`, which reaches the replica."""
    if (cancel := getattr(pieces, "cancel", None)) is not None:
        cancel()
    elif (aclose := getattr(pieces, "aclose", None)) is not None:
        await aclose()
