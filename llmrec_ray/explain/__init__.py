"""Evidence in, sentences out: by template, and by a language model held to the facts."""
