"""From a packaged file of weights to a model folder that sentence-transformers or vLLM load."""
