"""A review's vector in, how the review was meant out: its side of an encoder's opposites.

The encoder is its own judge, so every language that it knows is judged: the direction from the mean
of ten scathing sentences to the mean of ten glowing ones. What that was measured to be worth is in
docs/adr/0008-a-review-pulls-by-its-text.md.
"""

import numpy as np

from llmrec_ray.ports import Embedder
from llmrec_ray.types import Float32s, Reading

GLOWING = (
    "I loved this.",
    "Wonderful, one of the best I have seen.",
    "A brilliant masterpiece, I enjoyed every minute.",
    "Excellent quality, works perfectly, highly recommended.",
    "It made me happy and I will come back to it.",
    "Beautiful, moving and great fun.",
    "Very good, I am really satisfied with it.",
    "Great value, better than I expected.",
    "Funny, charming and beautifully acted.",
    "Fantastic, easy to use, five stars.",
)
SCATHING = (
    "I hated this.",
    "Terrible, one of the worst I have seen.",
    "A boring mess, I regret every minute.",
    "Poor quality, broke at once, not recommended.",
    "It made me angry and I want my money back.",
    "Ugly, dull and a waste of time.",
    "Very bad, I am really disappointed with it.",
    "Bad value, much worse than I expected.",
    "Unfunny, annoying and badly acted.",
    "Awful, hard to use, one star.",
)

UNSAID = 0.2
"""How far from the middle a text is that says nothing of a liking: what is nearer leans nowhere."""


class Sentiment:
    """Reads reviews with one encoder; embeds twenty sentences when it is made."""

    def __init__(self, embedder: Embedder) -> None:
        opposites = embedder.queries([*GLOWING, *SCATHING]).astype(np.float64)
        glowing, scathing = opposites[: len(GLOWING)].mean(0), opposites[len(GLOWING) :].mean(0)
        self._encoder = embedder.info.hash
        self._direction = glowing - scathing
        self._middle = float((glowing + scathing) @ self._direction) / 2
        self._half = float(self._direction @ self._direction) / 2

    def reading(self, vector: Float32s) -> Reading:
        """The reading of a text whose query vector, float32 [dim], this encoder made."""
        return Reading(self._encoder, self._lean(vector), vector.astype("<f4").tobytes())

    def _lean(self, vector: Float32s) -> float:
        """-1 as scathing as the sentences are on average, or more so; +1 glowing; 0 neither."""
        place = (float(vector.astype(np.float64) @ self._direction) - self._middle) / self._half
        said = max(abs(place) - UNSAID, 0.0) / (1.0 - UNSAID)
        return float(np.copysign(min(said, 1.0), place)) if said else 0.0
