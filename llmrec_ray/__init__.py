"""llmrec-ray, the recommender as a library: no Ray and no web server are needed to import it."""

__version__ = "0.1.0"
